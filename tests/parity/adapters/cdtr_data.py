"""CATR's and CDTR's data and recipes, by their configs: boxes, images, sampler, optimizer."""

import re
from collections.abc import Mapping

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import ImageGeometry
from wsol_mm.evaluation.map_boxes import ground_truth_in_frame
from wsol_mm.registry import MODELS

import numpy as np
from mmengine.config import Config
from mmengine.registry import DefaultScope
from numpy.typing import NDArray

from .. import models as run
from ..case import Case
from ..comparison import Comparison, close, equal, failure
from ..engine import checks

#: What the reference calls the data sets, and what the configs call them.
DATA_SETS = {'CUB': 'cub', 'IMNET': 'ilsvrc'}
#: Learning rates are the same numbers but for rounding.
RATE_TOLERANCE = 1e-9


def config_of(method: str, data: str) -> Config:
    """Return the config of a method on a data set of the reference."""
    return Config.fromfile(run.CONFIGS / method / f'{method}_deit-s_{DATA_SETS[data]}.py')


@checks(
    'cdtr',
    lambda case: (
        any(re.fullmatch(r'out/\w+_boxes', name) for name in case.arrays)
        and any(name.endswith('_sizes_wh') for name in case.arrays)
    ),
)
def check_data(case: Case) -> list[Comparison]:
    """Compare boxes in the test crop and test images, through the configs' pipelines and protocols.

    Raises:
        ValueError: If the description states its tolerances in other words.
    """
    stated = re.search(r'boxes ([\d.e-]+); images ([\d.e-]+)', case.meta['tolerance'])
    if stated is None:
        raise case.error('tolerance', case.meta['tolerance'], '"boxes N; images N"')
    box_tolerance, image_tolerance = map(float, stated.groups())
    results = []
    for name, expected in sorted(case.arrays.items()):
        boxes = re.fullmatch(r'out/(CUB|IMNET)_boxes', name)
        image = re.fullmatch(r'out/(image\d*)_s(\d+)', name)
        if boxes is not None:
            found = boxes_in_frame(case, boxes[1])
            results.append(close(name, found, expected, box_tolerance))
        elif image is not None:
            step = int(image[2])
            pixels, _ = run.network_inputs(config_of('cdtr', 'CUB'), case.arrays[f'in/{image[1]}_u8'])
            results.append(close(name, pixels[:, ::step, ::step], expected, image_tolerance))
        elif not name.startswith('in/'):
            results.append(failure(f'{name} (not checked)'))
    return results


def boxes_in_frame(case: Case, data: str) -> NDArray:
    """Return the box of every image in the network input, (N, 4), as the evaluation of the config sees it."""
    cfg = config_of('cdtr', data)
    protocol = get_protocol('cdtr', DATA_SETS[data])
    boxes = case.arrays[f'in/{data}_raw_box'].astype(np.float64)
    if data == 'CUB':  # x, y, width, height
        boxes[:, 2:] += boxes[:, :2]
    found = []
    for size, box in zip(case.arrays[f'in/{data}_sizes_wh'], boxes, strict=True):
        _, sample = run.network_inputs(cfg, np.zeros((size[1], size[0], 3), np.uint8))
        geometry = ImageGeometry.from_metainfo(sample.metainfo)
        # Of several boxes the last one counts.
        found.append(ground_truth_in_frame(np.stack([box / 2, box]), geometry, protocol)[0])
    return np.stack(found)


@checks('cdtr', lambda case: any(re.match(r'out/n\d+_R\d+_', name) for name in case.arrays))
def check_sampler(case: Case) -> list[Comparison]:
    """Compare the indices that every process draws with the configs' sampler."""
    settings = config_of('cdtr', 'CUB').train_dataloader.sampler
    results = []
    for name in sorted(case.arrays):
        described = re.fullmatch(r'out/n(\d+)_R(\d+)_e(\d+)_r(\d+)', name)
        if described is None:
            results.append(failure(f'{name} (not checked)'))
            continue
        images, replicas, epoch, rank = map(int, described.groups())
        found, length = run.sampled_indices(settings, images, rank, replicas, epoch)
        results.append(equal(name, found, case.arrays[name]))
        results.append(equal(f'{name} length', length, len(case.arrays[name])))
    return results


@checks(
    'cdtr',
    lambda case: any(isinstance(entry, dict) and 'lr_of_epoch' in entry for entry in case.meta.values()),
)
def check_recipes(case: Case) -> list[Comparison]:
    """Compare learning rates, epochs, batch and the optimizer's groups of the configs."""
    results = []
    for name, recipe in case.meta.items():
        method, _, data = name.partition('_')
        results += [
            Comparison(f'{name}: {one.name}', one.error, one.tolerance)
            for one in check_recipe(config_of(method, data.upper()), recipe)
        ]
    return results


def check_recipe(cfg: Config, recipe: Mapping) -> list[Comparison]:
    """Compare one recipe."""
    batch = recipe['batch_size_per_gpu']
    results = [
        equal('optimizer', cfg.optim_wrapper.optimizer.type, recipe['optimizer']),
        equal('scaled_lr', cfg.optim_wrapper.optimizer.lr, recipe['scaled_lr']),
        equal('scaled_lr of base_lr', recipe['base_lr'] * batch * recipe['gpus'] / 512, recipe['scaled_lr']),
        equal('batch_size_per_gpu', cfg.train_dataloader.batch_size, batch),
        equal('batch of all gpus', cfg.auto_scale_lr.base_batch_size, batch * recipe['gpus']),
        equal('epochs', cfg.train_cfg.max_epochs, recipe['epochs']),
        check_rates(cfg, recipe['lr_of_epoch']),
        check_groups(cfg, recipe),
    ]
    compared = {'optimizer', 'base_lr', 'scaled_lr', 'batch_size_per_gpu', 'gpus', 'epochs', 'lr_of_epoch'}
    compared |= {'decay', 'no_decay', 'decay_in_blocks_0', 'no_decay_in_blocks_0'}
    compared |= {'betas', 'eps', 'weight_decay'}
    return results + [failure(f'{key} (not checked)') for key in recipe if key not in compared]


def check_rates(cfg: Config, expected: list[float]) -> Comparison:
    """Step the schedule of a config, and compare the rate of every epoch."""
    rates = run.rates_of(cfg.param_scheduler, cfg.optim_wrapper.optimizer.lr, len(expected))
    return close('lr_of_epoch', rates / expected, np.ones(len(expected)), RATE_TOLERANCE)


def check_groups(cfg: Config, recipe: Mapping) -> Comparison:
    """Compare which parameters the optimizer of a config decays, and with what options."""
    if 'sba' in cfg.model.head:
        cfg.model.head.sba = None  # it has no parameters, and its CLIP may be absent
    with run.quiet(), DefaultScope.overwrite_default_scope('wsol_mm'):
        model = MODELS.build({**cfg.model, 'pretrained': None})
        wrapper = run.build_optimizer(model, cfg, cfg.optim_wrapper.optimizer.lr)
    depth = len(model.backbone.layers)
    options = {'lr': recipe['scaled_lr'], 'betas': recipe['betas'], 'eps': recipe['eps']}
    groups = []
    for key, decay in (('decay', recipe['weight_decay']), ('no_decay', 0.0)):
        layers = [
            name.replace('blocks.0.', f'blocks.{index}.')
            for index in range(depth)
            for name in recipe[f'{key}_in_blocks_0']
        ]
        groups.append({**options, 'weight_decay': decay, 'params': recipe[key] + layers})
    # What the reference stores in numbered parts is one parameter here.
    named = run.our_names('cdtr', (name for group in groups for name in group['params']))
    renamed = {name: re.sub(r'\[\d+\]$', '', ours) for name, ours in named.items()}
    members = [{renamed[name] for name in group['params']} for group in groups]
    if members[0] & members[1]:
        return failure(f'parameters of two groups {members[0] & members[1]}')
    return run.compare_groups(model, wrapper, groups, renamed)
