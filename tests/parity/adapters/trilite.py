"""TriLite: the heads on given features, whole models, optimizer steps, and boxes."""

import copy
import re

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import (
    ConstantMapError,
    ImageGeometry,
    all_regions,
    gt_boxes_to_frame,
    integer_thresholds,
    level_image,
    quantize,
)
from wsol_mm.evaluation.map_boxes import score_map
from wsol_mm.evaluation.metrics.protocol_record import MapsByClass
from wsol_mm.evaluation.protocols import LocalizationProtocol
from wsol_mm.models.heads import TriLiteHead
from wsol_mm.models.layers import region_probabilities
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import numpy as np
import torch
from mmengine.config import Config
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import models as run
from ..case import Case
from ..comparison import Comparison, Found, close, equal
from ..description import NUMBER
from ..engine import checks, computes
from ..evaluators import boxes_and_iou, evaluate, top_classes
from .frozen_backbone import position_rule

CONFIGS = run.CONFIGS / 'trilite'
_CLASSIFIER = 'triHead.patch_classifier.weight'


def has_heads_alone(case: Case) -> bool:
    """Whether the features are given."""
    return 'in/patches' in case.arrays


class SingleLoss(nn.Module):
    """The adversarial loss in float32, whatever the logits are: the reference saturates by rounding."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.loss(logits.float(), labels).to(logits)


def build_head(case: Case) -> nn.Module:
    """Return a model of the heads alone, with the weights of a case."""
    model = nn.Module()
    num_classes, width = case.shapes[_CLASSIFIER]
    alpha = float(case.meta.get('alpha', 1.0))
    model.head = TriLiteHead(num_classes, width, background_loss=dict(loss_weight=alpha))
    return run.load(model, 'trilite', case)


def given_features(case: Case, suffix: str, dtype: torch.dtype) -> Features:
    """Return the features that a case gives, which require gradients."""
    tokens, patches = (
        torch.from_numpy(case.arrays[f'in/{name}{suffix}']).to(dtype).requires_grad_()
        for name in ('cls_token', 'patches')
    )
    return Features(patches, extras={'pre_norm_map': patches, 'pre_norm_cls_token': tokens})


def run_heads(head: nn.Module, feats: Features, labels: Tensor | None) -> tuple[Found, Tensor | None]:
    """Return all outputs under the names of the arrays, and the total loss."""
    found: Found = {}
    total = None
    head.background_loss = SingleLoss(head.background_loss)
    twin = copy.deepcopy(head)  # has its own running statistics
    if labels is not None:
        losses = head.loss(feats, run.samples_of(labels))
        parts = {name: losses[f'loss_{name}'] for name in ('cls', 'foreground', 'background')}
        total = sum(parts.values())
        found |= {'loss_cls': parts['cls'], 'loss_fg': parts['foreground'], 'loss_bg': parts['background']}
        found |= {'loss_total': total}
        found |= {f'bn_{name}': value.clone() for name, value in head.regions.bn.named_buffers()}
    with torch.no_grad():
        head = twin
        scores = head.regions(head.patch_features(feats))
        probabilities = region_probabilities(scores)
        foreground, background = head.region_logits(feats, probabilities)
        found |= {'logits': head(feats), 'logits_fg': foreground, 'logits_bg': background}
        found |= {'pre_softmax': scores, 'probabilities': probabilities}
        found['map'] = head.localization_maps(feats, torch.zeros(0))[:, 0]
        found |= {'cls_token': feats.require('pre_norm_cls_token'), 'patches': head.patch_features(feats)}
    return run.prefixed('out/', found), total


@computes('trilite', has_heads_alone)
def compute_heads(case: Case, dtype: torch.dtype) -> Found:
    """Outputs, losses and gradients of the heads on given features."""
    model = build_head(case).to(dtype).train(bool(case.trains))
    feats = given_features(case, '', dtype)
    found, total = run_heads(model.head, feats, case.labels())
    if total is not None:
        total.backward()
        found |= run.gradients('trilite', case, model)
        found['grad/in/patches'] = feats.feature_map.grad
        found['grad/in/cls_token'] = feats.require('pre_norm_cls_token').grad
    return found


@computes('trilite', lambda case: isinstance(case.meta.get('backbone'), dict))
def compute_model(case: Case, dtype: torch.dtype) -> Found:
    """Tokens, outputs, losses and gradients of a whole model."""
    described, shapes = case.meta['backbone'], case.shapes
    prefix = 'backbone.model.'
    depth = 1 + max(
        int(found[1]) for found in (re.match(prefix + r'blocks\.(\d+)\.', name) for name in shapes) if found
    )
    registers = int(described.get('register_tokens', 0))
    num_classes, width = shapes[_CLASSIFIER]
    backbone = dict(
        type='TimmBackbone',
        model_name='vit_small_patch14_reg4_dinov2' if registers else 'vit_small_patch14_dinov2',
        img_size=described['img_size'],
        patch_size=described['patch_size'],
        embed_dim=width,
        depth=depth,
        num_heads=described['num_heads'],
        init_values=described.get('init_values', 1.0),
        mlp_ratio=shapes[f'{prefix}blocks.0.mlp.fc1.weight'][0] / width,
        position_interpolation=position_rule(described.get('position_interpolation'), registers),
    )
    if registers:
        backbone['reg_tokens'] = registers
    head = dict(
        type='TriLiteHead',
        num_classes=num_classes,
        in_channels=width,
        background_loss=dict(loss_weight=float(case.meta['alpha'])),
    )
    model = run.load(MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head)), 'trilite', case)
    model.to(dtype).train(bool(case.trains))
    feats = model.extract_feat(case.images().to(dtype), model.head.loss_needs)
    found, total = run_heads(model.head, feats, case.labels())
    if case.trains and total is not None:
        total.backward()
        found |= run.gradients('trilite', case, model)
    return found


@computes('trilite', lambda case: 'out/losses' in case.arrays)
def compute_steps(case: Case, dtype: torch.dtype) -> Found:
    """Losses and state over some steps of the configs' optimizer."""
    model = build_head(case).to(dtype).train()
    rates = [float(value) for value in re.findall(rf'({NUMBER}) for', str(case.meta['optimizer']))]
    cfg = Config.fromfile(CONFIGS / 'trilite_dinov2-s_cub.py')
    cfg.optim_wrapper.paramwise_cfg.custom_keys['head.classifier'].lr_mult = rates[1] / rates[0]
    wrapper = run.build_optimizer(model, cfg, rates[0])
    model.head.background_loss = SingleLoss(model.head.background_loss)
    losses = []
    for step in range(len(case.arrays['out/losses'])):
        feats = given_features(case, f'_{step}', dtype)
        labels = torch.from_numpy(case.arrays[f'in/label_{step}'])
        parts = model.head.loss(feats, run.samples_of(labels))
        total = sum(value for name, value in parts.items() if name.startswith('loss'))
        losses.append(total.item())
        wrapper.update_params(total)
    found: Found = {'out/losses': np.array(losses)}
    return found | run.official_values('trilite', case, 'out/after/', model.state_dict().items())


@checks('trilite', lambda case: 'in/maps' in case.arrays)
def check_boxes(case: Case) -> list[Comparison]:
    """Score maps, boxes, counts at every threshold, and metrics."""
    arrays, multi = case.arrays, bool(case.meta['multi_contour'])
    thresholds = tuple(arrays['in/thresholds'])
    protocol = get_protocol('trilite', 'ilsvrc' if multi else 'cub', thresholds=thresholds)
    maps, labels, size = arrays['in/maps'], arrays['in/label'], (224, 224)
    offsets = arrays['in/box_offsets']
    gt_boxes = [
        gt_boxes_to_frame(arrays['in/boxes'][a:b], ImageGeometry(tuple(image), size, size), 'integer')
        for image, a, b in zip(arrays['in/image_sizes'], offsets, offsets[1:], strict=False)
    ]
    scores = [zero_if_constant(loc_map, size, protocol) for loc_map in maps]
    ranked = top_classes(arrays['in/logits'])
    of_all = [MapsByClass(loc_map[None], np.array([-1])) for loc_map in maps]
    counts, values = evaluate(protocol, of_all, labels, ranked, gt_boxes, size)
    thinned = np.stack(scores)[:, ::8, ::8]
    results = [
        close('normalised_every_8th', thinned, arrays['out/normalised_every_8th'], 1e-6),
        equal('gt_boxes', np.concatenate(gt_boxes), arrays['out/gt_boxes']),
        equal(
            'number_of_boxes',
            [number_of_boxes(score, protocol) for score in scores],
            arrays['out/number_of_boxes'],
        ),
        equal('count_gt', counts.known[0, 1], arrays['out/count_gt']),
        equal('count_top1', counts.located[0, 1], arrays['out/count_top1']),
        equal('count_top5', counts.located[1, 1], arrays['out/count_top5']),
    ]
    for index, level in enumerate(protocol.iou_levels):
        name = f'count_iou{round(100 * level)}'
        results.append(equal(name, counts.known[0, index], arrays[f'out/{name}']))
    accuracies = [values[f'BoxAcc@{level:g}_agnostic'] for level in protocol.iou_levels]
    results.append(close('max_box_acc', accuracies, arrays['out/max_box_acc'], 1e-9))
    for ours, theirs in (
        ('Top-1_Loc', 'top1_loc'),
        ('Top-5_Loc', 'top5_loc'),
        ('GT-known_Loc_agnostic', 'gt_known'),
    ):
        results.append(close(theirs, values[ours], arrays[f'out/{theirs}'], 1e-9))
    if not multi:
        boxes = boxes_and_iou(protocol, maps, gt_boxes, size)[0]
        results.append(equal('boxes', boxes, arrays['out/boxes']))
    return results


def zero_if_constant(loc_map: NDArray, size: tuple[int, int], protocol: LocalizationProtocol) -> NDArray:
    """Return the score map, zeros for a map without contrast, as the reference does."""
    try:
        return score_map(loc_map, size, protocol)
    except ConstantMapError:
        return np.zeros(size, np.float32)


def number_of_boxes(score: NDArray, protocol: LocalizationProtocol) -> list[int]:
    """Return the number of boxes at every threshold; where there are none, the reference has one of zeros."""
    if protocol.contours == 'largest':
        return [1] * len(protocol.thresholds)
    quantized = quantize(score)
    levels = level_image(quantized, integer_thresholds(np.array(protocol.thresholds), int(quantized.max())))
    regions = all_regions(levels.levels, levels.num_levels)
    numbers = [
        max(1, int(((regions.first_level <= level) & (level <= regions.last_level)).sum()))
        for level in range(levels.num_levels)
    ]
    return [numbers[index] for index in levels.index]
