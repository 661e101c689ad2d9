"""TS-CAM: models, schedule and optimizer."""

import re
from collections.abc import Iterator, Mapping, Sequence

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import ImageGeometry, gt_boxes_to_frame
from wsol_mm.evaluation.map_boxes import score_map, score_map_boxes
from wsol_mm.models.layers import rollout_map
from wsol_mm.registry import MODELS

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import features as ft
from .. import models as run
from ..case import Case
from ..comparison import Comparison, Found, close, equal, failure, stated_tolerance
from ..engine import checks, computes

CONFIG = run.CONFIGS / 'ts_cam' / 'ts-cam_deit-s_cub.py'
# The registered names of the reference: width, channels of the convolutional branch.
_DEIT = {'tiny': 192, 'small': 384, 'base': 768}
_CONFORMER = {'tiny': (384, 256), 'small': (384, 1024), 'base': (576, 1536)}


def tolerance_of(case: Case, name: str, expected: NDArray) -> NDArray:
    """A Conformer's tokens double from block to block: there it is relative to the block's largest value."""
    if name == 'out/eval/block_out' and case.is_hybrid:
        expected = np.abs(expected).max(axis=tuple(range(1, expected.ndim)), keepdims=True)
    return stated_tolerance(case, name, expected)


@computes('ts_cam', lambda case: case.has_model, tolerance_of)
def compute_model(case: Case, dtype: torch.dtype) -> Found:
    """Outputs, intermediates, gradients and optimized weights."""
    labels = case.labels()
    if labels is None:
        raise case.error('in/label', None, 'the labels, whose maps are compared')
    head = dict(type='TSCAMHead')
    model = run.load(run.build_model(case, head), 'ts-cam', case).to(dtype)
    images = case.images().to(dtype)
    found = run_eval(model, case, images, labels)
    wanted = case.listed()
    if any(name.startswith(('out/train/', 'grad/')) for name in wanted):
        # Evaluation changes nothing, so training starts from the given state.
        found |= run_train(model, case, images, labels)
        missing = {name for name, parameter in model.named_parameters() if parameter.grad is None}
        listed = case.meta.get('parameters_without_gradient', [])
        different = missing ^ {*run.our_names('ts-cam', listed, case.shapes).values()}
        found['missing'] = Comparison('parameters without gradient', float(len(different)), 0.0)
    if case.meta.get('optimizer', {}).get('steps'):
        found |= run_optimizer_steps(run.load(model, 'ts-cam', case), case, images, labels)
    if groups := run.groups_of(case):
        wrapper = run.build_optimizer(model, CONFIG, groups[0]['lr'])
        names = run.our_names('ts-cam', [name for group in groups for name in group['params']])
        found['groups'] = run.compare_groups(model, wrapper, groups, names)
    return found


def run_eval(model: nn.Module, case: Case, images: Tensor, labels: Tensor) -> Found:
    """Return all evaluation outputs and intermediates under the names of the arrays."""
    model.eval()
    head, backbone = model.head, model.backbone
    with torch.no_grad():
        with run.recorded(watched_modules(model)) as seen:
            feats = ft.extract(model, images)
        every = torch.arange(head.num_classes).expand(len(images), -1)
        full = ft.extract_full_attention(model, images)
        attention = ft.full_attention(full)
        samples = model(images, run.samples_of(labels), mode='predict')
        found = {
            'logits': head(feats),
            'cams': head.localization_maps(feats, every),
            'loss_ce': model(images, run.samples_of(labels), mode='loss')['loss'],
            'attn_cls_row': ft.class_rows(feats).transpose(0, 1),
            'attn_map_sum': head.attention_map(feats),
            'class_map': head.semantic_conv.class_maps(ft.feature_map(feats), every),
            'norm_tokens': seen['norm'],
            'block_out': torch.stack([seen[f'layer {i}'][0] for i in range(attention.shape[1])]),
            'attn_head_mean': attention.mean(dim=2).transpose(0, 1),
            'rollout': rollout_map(full),
        }
        if case.is_hybrid:
            found |= {'trans_patch_conv': seen['trans_patch_conv']}
            found['conv_logits'] = head.conv_fc(ft.conv_map(feats).mean(dim=(2, 3)))
            for number, _ in enumerate(backbone.fusion_stages, start=2):
                found[f'conv_trans_{number}_squeeze_out'] = seen[f'squeeze {number}']
                found[f'conv_out_{number}'] = seen[f'fusion {number}']
        else:
            found |= {'patch_embed': seen['patch_embed'][0], 'tokens_in': seen['layer 0 input']}
    maps = [sample.loc_maps[0].numpy() for sample in samples]
    return run.prefixed('out/eval/', found | boxes_of(maps, case))


def watched_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules whose outputs are compared."""
    backbone = model.backbone
    if hasattr(backbone, 'patch_embed'):
        layers = dict(enumerate(backbone.layers))
        others = {'norm': backbone.ln1, 'patch_embed': backbone.patch_embed}
    else:
        stages = dict(enumerate(backbone.fusion_stages, start=2))
        layers = {0: backbone.trans_1} | {number - 1: stage.trans_block for number, stage in stages.items()}
        others = {'norm': backbone.trans_norm, 'trans_patch_conv': backbone.trans_patch_conv}
        others |= {f'squeeze {number}': stage.squeeze_block for number, stage in stages.items()}
        others |= {f'fusion {number}': stage.fusion_block for number, stage in stages.items()}
    return others | {f'layer {i}': layer for i, layer in layers.items()}


def boxes_of(maps: Sequence[NDArray], case: Case) -> Found:
    """Return boxes (T, B, 4) at the thresholds of a case, and enlarged maps (B, H, W)."""
    if not any('gt_box' in name or 'gt_map' in name for name in case.listed()):
        return {}
    stated = case.get('threshold')
    thresholds = [stated] if isinstance(stated, float) else stated
    if not thresholds:
        raise case.error('cam_thr', stated, 'the thresholds of out/eval/gt_box')
    protocol = get_protocol(
        'ts_cam', thresholds=sorted(thresholds), threshold_choice='joint', error_breakdown=False
    )
    side = case.frame(default=case.images().shape[-1])
    scores = [score_map(loc_map, (side, side), protocol) for loc_map in maps]
    order = [protocol.thresholds.index(threshold) for threshold in thresholds]
    boxes = np.stack([score_map_boxes(score, protocol)[order] for score in scores], axis=1)
    return {'gt_box': boxes, 'gt_map_resized': np.stack(scores)}


def run_train(model: nn.Module, case: Case, images: Tensor, labels: Tensor) -> Found:
    """Return outputs, gradients and BatchNorm buffers of one training step without optimizer."""
    model.train()
    with run.recorded({'head': model.head, 'backbone': model.backbone}) as seen:
        loss = model(images, run.samples_of(labels), mode='loss')['loss']
    loss.backward()
    every = torch.arange(model.head.num_classes).expand(len(labels), -1)
    with torch.no_grad():
        class_map = model.head.semantic_conv.class_maps(ft.feature_map(seen['backbone']), every)
    found = {'logits': seen['head'], 'loss_ce': loss, 'class_map': class_map}
    buffers = run.official_values('ts-cam', case, 'out/train/buffer_after/', model.named_buffers())
    return run.prefixed('out/train/', found) | run.gradients('ts-cam', case, model) | buffers


def run_optimizer_steps(model: nn.Module, case: Case, images: Tensor, labels: Tensor) -> Found:
    """Return all weights after the case's number of optimizer steps on its batch."""
    model.train()
    model.zero_grad()
    settings = case.meta['optimizer']
    wrapper = run.build_optimizer(model, CONFIG, settings['lr'])
    for _ in range(settings['steps']):
        wrapper.update_params(model(images, run.samples_of(labels), mode='loss')['loss'])
    prefix = f'out/train/after_{settings["steps"]}_steps/'
    return run.official_values('ts-cam', case, prefix, model.named_parameters())


@checks('ts_cam', lambda case: str(case.meta.get('kind', '')).startswith('learning-rate schedule'))
def check_schedule(case: Case) -> list[Comparison]:
    """All tables of learning rates, optimizer groups and drop-path rates."""
    results = [check_rates(name, array, case.meaning(name)) for name, array in case.arrays.items()]
    for name, groups in case.meta['groups'].items():
        reference, _, aspect = name.partition('/')
        values = sum(group['n_values'] for group in case.meta['groups'][reference])
        model = build_reference(reference, values)
        if aspect == 'drop_path':
            results.append(check_drop_path(name, model, groups))
        elif aspect == '':
            results += check_groups(name, model, groups)
        else:
            results.append(failure(f'{name} (not checked)'))
    return results


def check_rates(name: str, expected: NDArray, meaning: str) -> Comparison:
    """Run the scheduler that the description of a table speaks of."""
    start = re.search(r'start ([\d.]+(?:e-?\d+)?)', meaning)
    steps = re.search(r'LR_STEPS \[([\d, ]+)\]', meaning)
    gamma = re.search(r'factor ([\d.]+)', meaning)
    if start is None or steps is None:
        return failure(f'{name} (its description gives no start and LR_STEPS)')
    settings = dict(
        steps=[int(step) for step in steps[1].split(',')], gamma=float(gamma[1]) if gamma else 0.1
    )
    rates = run.rates_of([dict(type='ModuloStepLR', **settings)], float(start[1]), len(expected))
    return close(name, rates / expected, np.ones_like(expected), 1e-12)


def build_reference(name: str, values: int) -> nn.Module:
    """Return the model of a registered name, with 200 or 1000 classes by its number of weights.

    Raises:
        ValueError: If the name is not known or the number of weights fits no such model.
    """
    kind = re.fullmatch(r'(deit|conformer)_tscam_(tiny|small|base)_patch16(?:_224)?', name)
    if kind is None:
        raise ValueError(f'model: expected a deit_tscam or conformer_tscam of a known size, got {name}')
    family, size = kind.groups()
    for classes in (200, 1000):
        if family == 'deit':
            backbone = dict(type='TokenVisionTransformer', arch=f'deit-{size}', drop_path_rate=0.1)
            head = dict(in_channels=_DEIT[size])
        else:
            backbone = dict(type='TokenConformer', arch=size, drop_path_rate=0.1)
            head = dict(in_channels=_CONFORMER[size][0], conv_channels=_CONFORMER[size][1])
        head = dict(type='TSCAMHead', num_classes=classes, **head)
        model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head))
        if sum(parameter.numel() for parameter in model.parameters()) == values:
            return model
    raise ValueError(f'{name}: expected the weights of 200 or 1000 classes, got {values}')


def check_groups(name: str, model: nn.Module, groups: Sequence[Mapping]) -> Iterator[Comparison]:
    """Compare members and sizes of the optimizer's groups."""
    wrapper = run.build_optimizer(model, CONFIG, groups[0]['lr'])
    names = run.our_names('ts-cam', [name for group in groups for name in group['params']])
    yield run.compare_groups(model, wrapper, groups, names)
    for group in groups:
        members = [
            parameter
            for own in wrapper.optimizer.param_groups
            if own['weight_decay'] == group['weight_decay']
            for parameter in own['params']
        ]
        counts = [len(members), sum(parameter.numel() for parameter in members)]
        expected = [group['n_tensors'], group['n_values']]
        yield close(f'{name} decay {group["weight_decay"]}', counts, expected, 0.0)


def check_drop_path(name: str, model: nn.Module, rates: Sequence[tuple[str, float]]) -> Comparison:
    """Compare the drop-path rates, and that there is no drop-path that the reference lacks."""
    found: dict[str, list[float]] = {}
    for own_name, module in model.named_modules():
        if type(module).__name__ == 'DropPath' and module.drop_prob > 0:
            layer = re.sub(r'\.(attn\.out_drop|ffn\.dropout_layer)$', '', own_name)
            found.setdefault(layer, []).append(module.drop_prob)
    expected = {
        re.sub(r'^backbone\.blocks', 'backbone.layers', f'backbone.{module}').removesuffix('.drop_path'): rate
        for module, rate in rates
    }
    if set(found) != set(expected):
        return failure(f'{name} (modules {sorted(set(found) ^ set(expected))})')
    # Each layer has one drop-path for each of its two branches.
    pairs = [found[module] for module in expected]
    return close(name, pairs, [[rate, rate] for rate in expected.values()], 1e-9)


@checks('ts_cam', lambda case: 'in/cub/xywh' in case.arrays)
def check_data(case: Case) -> list[Comparison]:
    """TS-CAM: CUB and ILSVRC boxes at every crop size, and the test transform."""
    arrays = case.arrays
    xywh = arrays['in/cub/xywh']
    results = [labels_in_range(arrays['out/cub/label'])]
    cub, ilsvrc = get_protocol('ts_cam'), get_protocol('ts_cam', tuned_on='ilsvrc')
    for key in [name for name in arrays if name.startswith('out/cub/box_')]:
        crop = int(key.rsplit('_', 1)[1])
        found = [
            gt_boxes_to_frame(
                [[x, y, x + w, y + h]],
                ImageGeometry(tuple(size), (crop, crop), (crop, crop)),
                cub.gt_conversion,
            )[0]
            for (x, y, w, h), size in zip(xywh, arrays['in/cub/size_wh'], strict=True)
        ]
        results.append(equal(f'cub/box_{crop}', found, arrays[key]))
        found = np.full(arrays[f'out/ilsvrc/box_{crop}'].shape, -1.0)
        for row, boxes, count, size in zip(
            found,
            arrays['in/ilsvrc/xyxy'],
            arrays['in/ilsvrc/count'],
            arrays['in/ilsvrc/size_wh'],
            strict=True,
        ):
            geometry = ImageGeometry(tuple(size), (crop, crop), (crop, crop))
            row[:count] = gt_boxes_to_frame(boxes[:count], geometry, ilsvrc.gt_conversion)
        results.append(equal(f'ilsvrc/box_{crop}', found, arrays[f'out/ilsvrc/box_{crop}']))
    for key in [name for name in arrays if name.startswith('in/transform/image_')]:
        wanted = arrays[key.replace('in/transform/image', 'out/transform/tensor')]
        results.append(close(key, run.squashed(arrays[key], wanted.shape[-1]), wanted, 1e-5))
    return results


def labels_in_range(labels: NDArray) -> Comparison:
    """The fixture holds no label file; what can be said is that its labels are 0-based indices."""
    return Comparison('cub/label is 0-based', float(labels.min() < 0 or labels.max() > 199), 0.0)
