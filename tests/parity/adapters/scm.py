"""SCM: models with every calibration layer, the layer alone, optimizer steps, and the data pipeline."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from wsol_mm.datasets import CUB, ILSVRC
from wsol_mm.datasets.localization_dataset import LocalizationDataset
from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import ImageGeometry, gt_boxes_to_frame
from wsol_mm.models.layers import (
    GridGraph,
    SpatialCalibrationLayer,
    graph_diffusion,
    grid_graph,
    grid_laplacian,
    neighbour_similarity,
)

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from .. import features as ft
from .. import models as run
from ..case import Case
from ..comparison import Comparison, Found, close, equal, failure
from ..engine import checks, computes

CONFIGS = run.CONFIGS / 'scm'
# The config whose learning rates a list of the reference describes, by its first words.
_SCHEDULES = {
    'CUB deit_scm_small': 'scm_deit-s_cub.py',
    'ILSVRC deit_scm_small': 'scm_deit-s_ilsvrc.py',
    'ILSVRC deit_scm_base': 'scm_deit-b_ilsvrc.py',
}
# Shares of the largest value: of a float64 run, and of its thresholds' gradients, which nearly cancel.
_DOUBLE, _DOUBLE_THRESHOLD = 1e-8, 1e-7
# Of gradients in float32.
_SINGLE_GRADIENT = 2e-3


def tolerance_of(case: Case, name: str, expected: NDArray) -> float | None:
    """Share of the largest value; None where a comparison would mean nothing.

    float32 has no correct digit in the gradients of the thresholds (the cases say so).
    """
    share = share_of(case, name)
    return None if share is None else share * float(np.abs(expected).max(initial=0.0))


def share_of(case: Case, name: str) -> float | None:
    """Return the share of the largest value that an array may be off by."""
    kind, _, rest = name.partition('/')
    threshold = name.endswith('thred')
    if kind in ('out64', 'grad64'):
        return _DOUBLE_THRESHOLD if threshold else _DOUBLE
    if kind == 'grad':
        return None if threshold else _SINGLE_GRADIENT
    if rest.startswith('laplacian_'):
        return 0.0
    if 'cases' in case.meta:
        prefix, _, quantity = rest.partition('/')
        own = case.meta['cases'][f'{prefix}/']['relative_f32_vs_f64']
        # The loss is a sum in which much cancels.
        return 4 * own[quantity] if quantity in own else 1e-4
    stated = str(case.get('tolerance'))
    limits = [float(limit) for limit in re.findall(r'([\d.]+e-\d+) ?\* ?max', stated.split('float64')[0])]
    limits = limits or [1e-5]
    listed = case.meta.get('f32_vs_f64', {}).get(rest)
    limit = (
        limits[min(1, len(limits) - 1)]
        if rest.startswith('layer') or rest in ('logits', 'loss')
        else limits[0]
    )
    times = re.search(r'(\d+) ?x the listed', stated)
    if times is None or listed is None:
        return limit  # four times what is listed counts everywhere
    return max(limit, int(times[1]) * listed['max_abs_f32_minus_f64'] / listed['max_abs_value'])


@computes('scm', lambda case: case.has_model and 'param_groups' not in case.meta, tolerance_of)
def compute_model(case: Case, dtype: torch.dtype) -> Found:
    """Outputs, every calibration layer, gradients and buffers."""
    if case.trains is None:
        raise case.error('mode', case.meta.get('mode'), '"train" or "eval"')
    model = load_model(case).to(dtype)
    images = case.images().to(dtype)
    if not case.trains:
        return run_eval(model, images)
    if (labels := case.labels()) is None:
        raise case.error('in/label', None, 'the labels of a training step')
    found = run_train(model, images, labels)
    found |= run.official_values('scm', case, 'state_after/', model.named_buffers())
    return found | run.gradients('scm', case, model)


def load_model(case: Case) -> nn.Module:
    """Return the model of a case with its weights."""
    iterations = case.get('iterations') or ([4, 4, 4, 4] if case.is_hybrid else [16, 4, 4, 4])
    return run.load(run.build_model(case, dict(type='SCMHead', iterations=iterations)), 'scm', case)


def run_train(model: nn.Module, images: Tensor, labels: Tensor) -> Found:
    """Return outputs and intermediates of a training step; the gradients are in the model."""
    model.train()
    head = model.head
    with run.recorded({'backbone': model.backbone}) as seen:
        loss = model(images, run.samples_of(labels), mode='loss')['loss']
    loss.backward()
    feats = seen['backbone']
    with torch.no_grad():
        arrays = {'logits': head.calibrated_logits(feats), 'loss': loss}
        arrays |= token_arrays(feats) | conv_arrays(head, feats)
        maps, attention = head.semantic_conv(ft.feature_map(feats)), head.attention_map(feats)
        arrays |= {'S0': maps, 'F0': attention.flatten(1)}
        for number, layer in enumerate(head.calibration.layers):
            details, maps, attention = layer_arrays(layer, maps, attention)
            arrays |= run.prefixed(f'layer{number}/', details)
    return run.prefixed('out/', arrays)


def run_eval(model: nn.Module, images: Tensor) -> Found:
    """Return all test outputs and intermediates."""
    model.eval()
    head = model.head
    with torch.no_grad():
        feats = ft.extract(model, images)
        every = torch.arange(head.num_classes).expand(len(images), -1)
        maps, attention = head.semantic_conv(ft.feature_map(feats)), head.attention_map(feats)
        arrays = {
            'logits': head(feats),
            'final_map': head.localization_maps(feats, every),
            'S0': maps,
            'F0': attention[:, None],
            **token_arrays(feats),
            **conv_arrays(head, feats),
        }
        if head.calibrate_test_logits:
            for number, layer in enumerate(head.calibration.layers):
                maps, attention = layer(maps, attention)
                arrays |= {f'layer{number}/S': maps, f'layer{number}/F': attention.flatten(1)}
    return run.prefixed('out/', arrays)


def token_arrays(feats: tuple) -> Found:
    """Return tokens and attention under the names of the arrays."""
    rows = ft.class_rows(feats).flatten(2)
    return {'tokens': ft.tokens_of(feats), 'attn_cls_rows': rows.transpose(0, 1), 'F_raw': rows.sum(dim=1)}


def conv_arrays(head: nn.Module, feats: tuple) -> Found:
    """Return the logits of the convolutional branch, if there is one."""
    if head.conv_fc is None:
        return {}
    return {'conv_logits': head.conv_fc(ft.conv_map(feats).mean(dim=(2, 3)))}


def layer_arrays(layer: nn.Module, maps: Tensor, attention: Tensor) -> tuple[Found, Tensor, Tensor]:
    """Return a layer's intermediates and outputs, and both outputs again as its successor's inputs."""
    graph = grid_graph(*maps.shape[-2:])
    similarity, values = neighbour_similarity(maps, graph), attention.flatten(1)
    diffused = layer.diffuse(similarity, values, graph)
    new_maps, new_attention = layer(maps, attention)
    arrays = {
        'diffused': diffused,
        'shrunk': layer.shrink(diffused, values),
        'A': layer.calibration(similarity, values, graph),
        'S': new_maps,
        'F': new_attention.flatten(1),
        'sim_b0': all_similarities(maps, similarity, graph),
        'inv_b0': inverse_of(layer, similarity[:1], graph),
    }
    return arrays, new_maps, new_attention


def all_similarities(maps: Tensor, similarity: Tensor, graph: GridGraph) -> Tensor:
    """Return the similarities of all pairs of the first image; on the edges those that the layer used."""
    unit = nn.functional.normalize(maps[0].flatten(1), dim=0)
    every = unit.T @ unit
    first, second = graph.edges
    every[first, second] = every[second, first] = similarity[0]
    return every


def inverse_of(layer: nn.Module, similarity: Tensor, graph: GridGraph) -> Tensor:
    """Return the transposed approximate inverse, (N, N): what the diffusion makes of unit vectors."""
    scale = layer.similarity_scale.to(similarity.dtype)
    unit = torch.eye(graph.nodes, dtype=similarity.dtype)[None]
    diagonal = graph.degrees.to(similarity.dtype) * (scale - 1)
    values = 1 - scale * similarity
    return graph_diffusion(values, diagonal, unit, graph, layer.iterations, layer.alpha)[0]


@computes('scm', lambda case: 'cases' in case.meta, tolerance_of)
def compute_layer(case: Case, dtype: torch.dtype) -> Found:
    """The calibration layer alone, with its gradients, and the Laplacians."""
    found: Found = {}
    for prefix, settings in case.meta['cases'].items():
        for name, value in run_layer(case, prefix, settings, dtype).items():
            kind, _, rest = name.partition('/')
            found[f'{kind}/{prefix}{rest}'] = value
    return found | {name: laplacian_of(name) for name in case.arrays if name.startswith('out/laplacian_')}


def run_layer(case: Case, prefix: str, settings: Mapping, dtype: torch.dtype) -> Found:
    """Return outputs and gradients of one layer alone."""
    x, cam, weights, cam_weights = (
        torch.from_numpy(case.arrays[f'in/{prefix}{name}']).to(dtype) for name in ('x', 'cam', 'wS', 'wF')
    )
    layer = SpatialCalibrationLayer(settings['iteration'])
    with torch.no_grad():
        layer.threshold.fill_(settings['thred'])
        layer.similarity_scale.fill_(settings['loss_rate'])
    layer.to(dtype)
    x.requires_grad_(), cam.requires_grad_()
    grid = x.shape[-2:]
    maps, attention = layer(x, cam.unflatten(1, grid))
    loss = (maps * weights).sum() + (attention.flatten(1) * cam_weights).sum()
    loss.backward()
    with torch.no_grad():
        details = layer_arrays(layer, x, cam.unflatten(1, grid))[0]
    gradients = {'x': x.grad, 'cam': cam.grad, 'thred': layer.threshold.grad}
    gradients['_loss_rate'] = layer.similarity_scale.grad
    return run.prefixed('out/', details | {'loss': loss}) | run.prefixed('grad/', gradients)


def laplacian_of(name: str) -> Tensor:
    """Return the Laplacian that an array's name describes: HxW, dilation, connectivity."""
    height, width, dilation, connect = re.fullmatch(
        r'out/laplacian_(\d+)x(\d+)(?:_dil(\d+)_conn(\d+))?', name
    ).groups()
    graph = grid_graph(int(height), int(width), 'cpu', int(connect or 4), int(dilation or 1))
    return grid_laplacian(graph).to(torch.int8)


@checks('scm', lambda case: 'param_groups' in case.meta)
def check_recipe(case: Case) -> list[Comparison]:
    """Optimizer groups, losses and weights of the steps in float64, and all lists of learning rates."""
    model = load_model(case).double()
    results = [check_rates(name, rates) for name, rates in case.meta['lr_per_epoch'].items()]
    groups = run.groups_of(case)
    wrapper = run.build_optimizer(model, CONFIGS / 'scm_deit-s_cub.py', groups[0]['lr'])
    names = run.our_names('scm', [name for group in groups for name in group['params']], case.shapes)
    results.append(run.compare_groups(model, wrapper, groups, names))
    images, labels = case.images().double(), case.labels()
    found: Found = {'out64/losses': []}
    model.train()
    for step in range(1, len(case.arrays['out64/losses']) + 1):
        loss = model(images, run.samples_of(labels), mode='loss')['loss']
        found['out64/losses'].append(loss.item())
        wrapper.update_params(loss)
        found |= run.official_values('scm', case, f'out64/step{step}/', model.named_parameters())
    for name in sorted(case.listed()):
        if name.startswith('out64/'):
            if name in found and name in case.arrays:
                results.append(close(name, found[name], case.arrays[name], 1e-8))
            else:
                results.append(failure(f'{name} (not checked)'))
    return results


def check_rates(name: str, expected: Sequence[float]) -> Comparison:
    """Run the scheduler of the config that a list of learning rates belongs to."""
    config = next((file for words, file in _SCHEDULES.items() if name.startswith(words)), None)
    if config is None:
        return failure(f'{name} (no config of this name)')
    cfg = Config.fromfile(CONFIGS / config)
    if cfg.train_cfg.max_epochs != len(expected):
        return failure(f'{name} ({cfg.train_cfg.max_epochs} epochs)')
    rates = run.rates_of(cfg.param_scheduler, cfg.optim_wrapper.optimizer.lr, len(expected))
    return close(name, rates / expected, np.ones(len(expected)), 1e-12)


@checks('scm', lambda case: case.meta.get('kind') == 'data pipeline')
def check_data(case: Case) -> list[Comparison]:
    """Boxes of both data sets through files, test pipeline and evaluator; test tensors."""
    arrays, results = case.arrays, []
    sizes, counts = arrays['in/sizes_wh'], arrays['in/ilsvrc_n_boxes']
    listed = arrays['in/ilsvrc_boxes_xyxy']
    scope = DefaultScope.overwrite_default_scope('wsol_mm')
    with tempfile.TemporaryDirectory() as folder, scope, run.quiet():
        for name in sorted(arrays):
            boxes = re.fullmatch(r'out/(\w+)_gt_boxes_(\d+)', name)
            tensor = re.fullmatch(r'out/test_tensor_(\d+)_(\d+)', name)
            if boxes and boxes[1] == 'cub':
                data = write_cub(
                    Path(folder, *boxes.groups()), sizes, arrays['in/cub_boxes_xywh'], int(boxes[2])
                )
                found = np.concatenate(boxes_in_frame(data, 'scm_deit-s_cub.py', 'cub'))
                results.append(equal(name, found, arrays[name]))
            elif boxes and boxes[1] == 'ilsvrc':
                data = write_ilsvrc(Path(folder, *boxes.groups()), sizes, listed, counts, int(boxes[2]))
                found = np.full(arrays[name].shape, -1.0)
                every = boxes_in_frame(data, 'scm_deit-s_ilsvrc.py', 'ilsvrc')
                for row, own in zip(found, every, strict=True):
                    row[: len(own)] = own
                results.append(equal(name, found, arrays[name]))
            elif tensor:
                found = run.squashed(arrays[f'in/image_{tensor[2]}'], int(tensor[1]))
                results.append(close(name, found, arrays[name], 1e-5))
            elif not name.startswith('in/'):
                results.append(failure(f'{name} (not checked)'))
    return results


def pipeline_of(config: str, side: int) -> list[dict]:
    """Return the test pipeline of a config for images of a side."""
    pipeline = Config.fromfile(CONFIGS / config).test_dataloader.dataset.pipeline
    return [{**step, 'scale': (side, side)} if 'scale' in step else step for step in pipeline]


def boxes_in_frame(dataset: LocalizationDataset, config: str, name: str) -> list[NDArray]:
    """Return the boxes of every image as the evaluator of the config converts them, in order of the files."""
    evaluator = Config.fromfile(CONFIGS / config).test_evaluator
    conversion = get_protocol(evaluator.protocols[0], name).gt_conversion
    results = {}
    for item in map(dataset.__getitem__, range(len(dataset))):
        sample = item['data_samples']
        geometry = ImageGeometry.from_metainfo(sample.metainfo)
        results[int(Path(sample.img_path).stem)] = gt_boxes_to_frame(sample.gt_bboxes, geometry, conversion)
    return [results[index] for index in range(len(results))]


def write_cub(root: Path, sizes: NDArray, boxes: NDArray, side: int) -> CUB:
    """Write blank images and lists in the layout of CUB, and return the test set over them."""
    (root / 'images').mkdir(parents=True)
    for index, size in enumerate(sizes.tolist()):
        Image.new('RGB', size).save(root / 'images' / f'{index}.png')
    lists = {
        'images.txt': lambda i: f'{i + 1} {i}.png',
        'image_class_labels.txt': lambda i: f'{i + 1} 1',
        'train_test_split.txt': lambda i: f'{i + 1} 0',
        'bounding_boxes.txt': lambda i: f'{i + 1} {numbers(boxes[i])}',
    }
    for name, line in lists.items():
        (root / name).write_text('\n'.join(map(line, range(len(sizes)))))
    return CUB(str(root), split='test', test_mode=True, pipeline=pipeline_of('scm_deit-s_cub.py', side))


def write_ilsvrc(root: Path, sizes: NDArray, boxes: NDArray, counts: NDArray, side: int) -> ILSVRC:
    """Write blank images and a list of boxes in the layout of ILSVRC, and return the validation set."""
    (root / 'val' / 'n00000001').mkdir(parents=True)
    lines = []
    for index, size in enumerate(sizes.tolist()):
        Image.new('RGB', size).save(root / 'val' / 'n00000001' / f'{index}.JPEG')
        lines.append(f'n00000001/{index}.JPEG 0 {numbers(boxes[index, : counts[index]].ravel())}')
    (root / 'boxes.txt').write_text('\n'.join(lines))
    pipeline = pipeline_of('scm_deit-s_ilsvrc.py', side)
    options = dict(split='val', box_source='boxes.txt', clip_boxes=True, test_mode=True)
    return ILSVRC(str(root), pipeline=pipeline, **options)


def numbers(values: Sequence[float]) -> str:
    """Return numbers as list files have them."""
    return ' '.join(str(float(value)) for value in values)
