"""Cases of LCTR's data and recipe: boxes and test transform, sampler, learning rates."""

from pathlib import Path
from unittest import mock

from wsol_mm.datasets.samplers import RepeatedAugSampler
from wsol_mm.evaluation.functional import ImageGeometry, gt_boxes_to_frame
from wsol_mm.registry import PARAM_SCHEDULERS

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from . import Case, Comparison, close, equal, register
from .model_runs import test_inputs

BASES = Path(__file__).resolve().parents[3] / 'configs' / 'lctr' / '_base_'
CROP, SHORT_SIDE = 224, 256


@register('lctr', lambda case: case.meta.get('mode') == 'schedule')
def check_schedule(case: Case) -> list[Comparison]:
    """Compare the learning rates of the configs' schedules, epoch by epoch."""
    results = []
    for name, file in (('cub', 'cub.py'), ('imnet', 'ilsvrc.py')):
        expected, settings = case.arrays[f'out/{name}_lr'], case.meta['settings'][name]
        cfg = Config.fromfile(BASES / file)
        results.append(equal(f'{name} epochs', cfg.train_cfg.max_epochs, settings['epochs']))
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr)
        (schedule,) = cfg.param_scheduler
        scheduler = PARAM_SCHEDULERS.build(dict(schedule, optimizer=optimizer))
        rates = []
        for _ in expected:
            rates.append(optimizer.param_groups[0]['lr'])
            optimizer.step()
            scheduler.step()
        results.append(close(f'{name}_lr', np.array(rates) / expected, np.ones(len(expected)), 1e-9))
    return results


@register('lctr', lambda case: case.meta.get('mode') == 'sampler')
def check_sampler(case: Case) -> list[Comparison]:
    """Compare the indices that every process draws."""
    results = []
    for index, config in enumerate(case.meta['configs']):
        for rank in range(config['world']):
            target = 'mmpretrain.datasets.samplers.repeat_aug.get_dist_info'
            with mock.patch(target, return_value=(rank, config['world'])):
                sampler = RepeatedAugSampler(range(config['n']), shuffle=config['shuffle'])
            sampler.set_epoch(config['epoch'])
            name = f'out/c{index}_rank{rank}'
            results.append(equal(name, list(sampler), case.arrays[name]))
            results.append(equal(f'{name} length', len(sampler), len(case.arrays[name])))
    return results


@register('lctr', lambda case: 'in/CUB_list_box' in case.arrays)
def check_boxes(case: Case) -> list[Comparison]:
    """Compare boxes in the test crop, and every 28th pixel of the configs' test pipeline.

    What the reference returns when it reads a box a second time is a fault and is not reproduced.
    """
    arrays = dict(case.arrays)
    results = []
    for name in ('CUB', 'IMNET'):
        sizes, listed = arrays[f'in/{name}_size_wh'], arrays[f'in/{name}_list_box']
        boxes = listed.copy()
        if name == 'CUB':
            boxes[:, 2:] += boxes[:, :2]
        found = [
            gt_boxes_to_frame(box[None], test_geometry(*size), 'continuous')[0]
            for box, size in zip(boxes, sizes, strict=True)
        ]
        results.append(close(f'{name}_gt_box', found, arrays[f'out/{name}_gt_box'], 1e-9))
        labels = arrays[f'out/{name}_label']
        # The case has no names of folders; what can be said is that labels are 0-based and sorted.
        wrong = float(labels.min() != 0 or (np.diff(labels) < 0).any() or (np.diff(labels) > 1).any())
        results.append(Comparison(f'{name}_label is sorted from 0', wrong, 0.0))
    cfg = Config.fromfile(BASES / 'cub.py')
    images = [run_test_pipeline(cfg, *size)[:, ::28, ::28] for size in arrays['in/CUB_size_wh']]
    # 2 of 255 levels over the smallest deviation: what versions of Pillow differ by.
    results.append(close('CUB_image_sub', np.stack(images), arrays['out/CUB_image_sub'], 2 / 255 / 0.225))
    return results


def test_geometry(width: int, height: int) -> ImageGeometry:
    """Return the geometry of an image that is resized to a shorter side of 256 and cropped."""
    short = min(width, height)
    resized = (width * SHORT_SIDE // short, height * SHORT_SIDE // short)
    return ImageGeometry((int(width), int(height)), resized, (CROP, CROP))


def run_test_pipeline(cfg: Config, width: int, height: int) -> np.ndarray:
    """Return the preprocessed crop (3, 224, 224) of the drawn image that the case describes."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    image = np.stack(
        [
            np.broadcast_to(x * 255 // max(1, width - 1), (height, width)),
            np.broadcast_to(y * 255 // max(1, height - 1), (height, width)),
            ((x // 7 + y // 5) % 2) * 200 + 20,
        ],
        axis=-1,
    ).astype(np.uint8)
    return test_inputs(cfg, image)[0]
