"""Parts of the methods are broken in turn, outputs and gradients: a reference case must notice."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from tests.parity.adapters import found as found_adapter
from tests.parity.case import Case
from tests.parity.engine import compare
from wsol_mm.evaluation import PRESETS
from wsol_mm.evaluation.functional import bilateral_solver as bilateral
from wsol_mm.models.backbones import TimmBackbone, timm_attention, timm_backbone
from wsol_mm.models.batch_augments import HideAndSeek
from wsol_mm.models.clip import loading
from wsol_mm.models.heads import ACoLHead
from wsol_mm.models.heads.catr_head import CATRHead
from wsol_mm.models.heads.cdtr_head import CDTRHead
from wsol_mm.models.layers import (
    AttentionDropout,
    CueDigging,
    ObjectConstraint,
    SemanticConv,
    TokenAttention,
    category_stimulation,
    deformable_conv,
    semantic_kernel_integrator,
)
from wsol_mm.models.losses import (
    AutomaticLossWeighting,
    BackgroundActivationLoss,
    BatchAreaLoss,
    LowAttentionAreaLoss,
    MapAlignmentLoss,
    NormalizationLoss,
    SelfProducedGuidanceLoss,
    SelfTrainingLoss,
    SemanticBoostAdapter,
    self_produced_guidance_loss,
    semantic_boost_adapter,
)

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

CASES = Path(__file__).resolve().parents[1] / 'data' / 'parity'
#: Named in a test so that the parts' cases come first: they are small.
CSM, OCM, SKI, SBA, CLIP = 'module_csm', 'module_ocm_cub', 'module_ski', 'module_sba', 'tiny_clip'
CATR, CDTR = 'tiny_catr_cub_train', 'tiny_cdtr_imnet_train'


@cache
def load(system: str, name: str) -> Case:
    return Case.load(CASES / system / f'{name}.json')


def failures(name: str, system: str = 'cdtr') -> list[str]:
    """Run a case and name the quantities that do not agree."""
    comparisons = compare(load(system, name))
    assert comparisons
    return [comparison.name for comparison in comparisons if not comparison.ok]


@pytest.mark.parametrize('name', [CSM, OCM, SKI, SBA, CLIP, CATR, CDTR])
def test_nothing_broken(name):
    assert failures(name) == []


def with_arguments(monkeypatch, kind: type, **changed) -> None:
    """Build objects of a class with other arguments than are asked for."""
    original = kind.__init__

    def init(self, *args, **kwargs):
        original(self, *args, **kwargs)
        for name, value in changed.items():
            assert hasattr(self, name)
            setattr(self, name, value)

    monkeypatch.setattr(kind, '__init__', init)


def with_result(monkeypatch, owner: object, name: str, change: Callable) -> None:
    """Change what a function or method returns."""
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: change(original(*args, **kwargs)))


def with_functions(monkeypatch, module: object, library: str, **functions) -> None:
    """Let a module find other functions in a library that it uses."""
    monkeypatch.setattr(module, library, SimpleNamespace(**{**vars(getattr(module, library)), **functions}))


def paired_map_loss(monkeypatch):
    with_arguments(monkeypatch, MapAlignmentLoss, pairing='sample')


def detached_target(monkeypatch):
    with_arguments(monkeypatch, MapAlignmentLoss, detach_target=True)


def mean_area(monkeypatch):
    with_arguments(monkeypatch, LowAttentionAreaLoss, reference_batch=1)


def rank_off_by_one(monkeypatch):
    original = LowAttentionAreaLoss.forward

    def forward(self, maps):
        shifted = LowAttentionAreaLoss(self.ratio + 1 / maps[0].numel())
        return original(shifted, maps)

    monkeypatch.setattr(LowAttentionAreaLoss, 'forward', forward)


def mean_over_heads(monkeypatch):
    original = CATRHead.attention_map
    monkeypatch.setattr(CATRHead, 'attention_map', lambda self, feats: original(self, feats) / self.num_heads)


def prompts_by_label(monkeypatch):
    with_arguments(monkeypatch, SemanticBoostAdapter, prompt_index='label')


def corners_not_aligned(monkeypatch):
    def interpolate(*args, align_corners, **kwargs):
        assert align_corners
        return F.interpolate(*args, align_corners=False, **kwargs)

    with_functions(monkeypatch, semantic_boost_adapter, 'F', interpolate=interpolate)


def attached_class_maps(monkeypatch):
    def object_maps(self, feats, head_maps, decoded, labels):
        images = torch.arange(len(labels))
        return self.attention_map(feats) * (head_maps + self.csm.maps(decoded))[images, labels]

    monkeypatch.setattr(CDTRHead, 'object_maps', object_maps)


def swapped_offsets(monkeypatch):
    original = deformable_conv.bilinear_neighbours

    def bilinear_neighbours(offset, *args, **kwargs):
        return original(offset.unflatten(1, (-1, 2)).flip(2).flatten(1, 2), *args, **kwargs)

    for module in (deformable_conv, semantic_kernel_integrator):
        monkeypatch.setattr(module, 'bilinear_neighbours', bilinear_neighbours)


def swapped_roles(monkeypatch):
    def integrated_logits(self, feats, head_maps, decoded):
        offsets = self.ski.offsets(self.csm.maps(decoded), self.attention_map(feats))
        return self.ski.pooled(head_maps, offsets)

    monkeypatch.setattr(CDTRHead, 'integrated_logits', integrated_logits)


def plain_gelu(monkeypatch):
    original = loading._build

    def build(config):
        assert config['quick_gelu']
        return original({**config, 'quick_gelu': False})

    monkeypatch.setattr(loading, '_build', build)


def set_momentum(layers: nn.Module, momentum: float) -> nn.Module:
    for layer in layers.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = momentum
    return layers


def csm_momentum(monkeypatch):
    with_result(monkeypatch, category_stimulation, 'double_conv', lambda layers: set_momentum(layers, 0.1))


def ocm_momentum(monkeypatch):
    original = ObjectConstraint.__init__

    def init(self, *args, **kwargs):
        original(self, *args, **kwargs)
        set_momentum(self, 0.01)

    monkeypatch.setattr(ObjectConstraint, '__init__', init)


def heads_first(monkeypatch):
    original = CATRHead.attention_rows

    def attention_rows(self, feats):
        rows = original(self, feats).unflatten(1, (self.num_layers, self.num_heads))
        return rows.transpose(1, 2).flatten(1, 2)

    monkeypatch.setattr(CATRHead, 'attention_rows', attention_rows)


def concatenation_reversed(monkeypatch):
    def cat(tensors, dim):
        return torch.cat(tensors[::-1], dim=dim)

    with_functions(monkeypatch, category_stimulation, 'torch', cat=cat)


def object_map_not_normalised(monkeypatch):
    with_arguments(monkeypatch, SemanticBoostAdapter, normalize_map=False)


def no_clamp(monkeypatch):
    monkeypatch.setattr(semantic_boost_adapter, '_SIMILARITY_RANGE', (float('-inf'), float('inf')))


def no_log_term(monkeypatch):
    def forward(self, losses):
        return [0.5 / weight.square() * loss for loss, weight in zip(losses, self.params, strict=True)]

    monkeypatch.setattr(AutomaticLossWeighting, 'forward', forward)


def no_gradient_through_range(monkeypatch):
    def min_max(values, eps):
        low, high = (limit(dim=1, keepdim=True).detach() for limit in (values.amin, values.amax))
        return (values - low) / (high - low + eps)

    monkeypatch.setattr(semantic_boost_adapter, 'min_max', min_max)


@pytest.mark.parametrize(
    ('damage', 'names', 'noticed_by'),
    [
        (paired_map_loss, [OCM, CDTR], 'out/loss_map'),
        (detached_target, [OCM, CDTR], 'grad_map/'),
        (mean_area, [OCM, CDTR], 'out/loss_area'),
        (rank_off_by_one, [OCM, CDTR], 'out/loss_area'),
        (mean_over_heads, [OCM, CATR], 'out/attn_map'),
        (prompts_by_label, [SBA, CDTR], 'out/'),
        (corners_not_aligned, [SBA, CDTR], 'out/object_map_224_s16'),
        (attached_class_maps, [CDTR], 'grad_sba/'),
        (swapped_offsets, [SKI, CDTR], ''),
        (swapped_roles, [CDTR], 'out/ski_logits'),
        (plain_gelu, [CLIP, SBA], 'out/'),
        (csm_momentum, [CSM, CATR], 'state_after/att_layer'),
        (ocm_momentum, [OCM, CATR], 'state_after/block'),
        (heads_first, [CATR], 'out/csm_encoder'),
        (concatenation_reversed, [CSM, CATR], 'out/'),
        (object_map_not_normalised, [CDTR], 'out/object_map'),
        (no_gradient_through_range, [CDTR], 'grad_sba/'),
        (no_clamp, [SBA], 'out/clamp_loss'),
        (no_log_term, [SBA, CATR, CDTR], 'out/'),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_damage_is_noticed(monkeypatch, damage, names, noticed_by):
    damage(monkeypatch)
    for name in names:
        failed = failures(name)
        assert [quantity for quantity in failed if quantity.startswith(noticed_by)], (name, failed)


class ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient has a factor."""

    @staticmethod
    def forward(ctx, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.factor * gradient, None


def attention_gradient_too_large(monkeypatch):
    with_result(monkeypatch, TokenAttention, 'attend', lambda result: (scaled(result[0], 1.01), *result[1:]))


def attention_gradient_of_other_sign(monkeypatch):
    with_result(monkeypatch, TokenAttention, 'attend', lambda result: (scaled(result[0], -1.0), *result[1:]))


def no_gradient_through_routing(monkeypatch):
    with_result(monkeypatch, CueDigging, 'routing', lambda weights: scaled(weights, 0.0))


def swapped_query_and_key(monkeypatch):
    with_result(monkeypatch, TokenAttention, 'project_qkv', lambda qkv: (qkv[1], qkv[0], qkv[2]))


def area_gradient_too_small(monkeypatch):
    with_result(monkeypatch, BatchAreaLoss, 'forward', lambda loss: scaled(loss, 0.999))


def norm_gradient_too_small(monkeypatch):
    with_result(monkeypatch, NormalizationLoss, 'forward', lambda loss: scaled(loss, 0.999))


def equal_scores_counted(monkeypatch):
    with_arguments(monkeypatch, BackgroundActivationLoss, keep_equal=True)


def boxes_of_polygons(monkeypatch):
    monkeypatch.setitem(PRESETS, 'bas', replace(PRESETS['bas'], region='polygon'))


def truth_truncated(monkeypatch):
    monkeypatch.setitem(PRESETS, 'bas', replace(PRESETS['bas'], gt_conversion='truncate'))


def keys_not_rotated(monkeypatch):
    monkeypatch.setattr(timm_attention, 'rotated_keys', lambda attention, keys, rope, prefix: keys)


def keys_and_values_swapped(monkeypatch):
    others = {'queries': 'queries', 'keys': 'values', 'values': 'keys'}
    original = timm_backbone.project
    monkeypatch.setattr(timm_backbone, 'project', lambda module, x, name: original(module, x, others[name]))


def map_mirrored(monkeypatch):
    with_result(monkeypatch, TimmBackbone, '_as_map', lambda feature_map: feature_map.flip(3))


def drop_mask_inverted(monkeypatch):
    with_result(monkeypatch, AttentionDropout, 'drop_mask', lambda mask: 1 - mask)


def attention_without_gradient(monkeypatch):
    with_result(monkeypatch, AttentionDropout, 'attention', lambda attention: scaled(attention, 0.0))


def nothing_erased(monkeypatch):
    with_result(monkeypatch, ACoLHead, 'kept', lambda kept: torch.ones_like(kept))


def second_branch_cut_off(monkeypatch):
    with_result(monkeypatch, ACoLHead, 'hidden_b', lambda hidden: scaled(hidden, 0.0))


def few_positions_left_ignored(monkeypatch):
    monkeypatch.setattr(self_produced_guidance_loss, '_FEW', 0)


def mean_of_branches_wrong(monkeypatch):
    with_result(monkeypatch, SelfProducedGuidanceLoss, 'guides', lambda maps: (*maps[:2], maps[2] * 1.05))


def fewer_cells_hidden(monkeypatch):
    with_arguments(monkeypatch, HideAndSeek, drop_rate=0.4)


def heads_weighed_alike(monkeypatch):
    original = found_adapter.background_discovery
    monkeypatch.setattr(
        found_adapter, 'background_discovery', lambda *args, **kwargs: original(*args[:2], False)
    )


def grid_not_balanced(monkeypatch):
    original = bilateral.BilateralGrid.bistochastic
    monkeypatch.setattr(bilateral.BilateralGrid, 'bistochastic', lambda grid, iterations: original(grid, 0))


def own_masks_count_less(monkeypatch):
    with_arguments(monkeypatch, SelfTrainingLoss, self_weight=3.9)


def wrong_in_float32_alone(monkeypatch):
    def change(maps):
        return maps * 1.001 if maps.dtype == torch.float32 else maps

    with_result(monkeypatch, SemanticConv, 'forward', change)
    with_result(monkeypatch, CueDigging, 'forward', change)


def wrong_in_float64_alone(monkeypatch):
    def change(maps):
        return maps * 1.001 if maps.dtype == torch.float64 else maps

    with_result(monkeypatch, SemanticConv, 'forward', change)
    with_result(monkeypatch, CueDigging, 'forward', change)


def scaled(value: Tensor, factor: float) -> Tensor:
    return ScaledGradient.apply(value, factor)


@pytest.mark.parametrize(
    ('damage', 'system', 'name', 'noticed_by'),
    [
        (attention_gradient_too_large, 'ts_cam', 'tiny_deit', 'grad/patch_embed'),
        (attention_gradient_too_large, 'lctr', 'tiny_train', 'grad/blocks.0'),
        (attention_gradient_of_other_sign, 'lctr', 'tiny_train', 'grad/pos_embed'),
        (no_gradient_through_routing, 'lctr', 'module_cdm', 'c0/grad/in/attn_x'),
        (swapped_query_and_key, 'ts_cam', 'tiny_deit', 'out/eval/rollout'),
        (swapped_query_and_key, 'sat', 'attention_module', 'out/depth8'),
        (area_gradient_too_small, 'sat', 'loss_area', 'grad/'),
        (norm_gradient_too_small, 'sat', 'loss_norm', 'grad/'),
        (equal_scores_counted, 'cnn_baselines', 'bas_loss', 'out/vgg/loss'),
        (boxes_of_polygons, 'cnn_baselines', 'bas_postprocess', 'pred_box'),
        (truth_truncated, 'cnn_baselines', 'bas_postprocess', 'gt_box_crop'),
        (keys_not_rotated, 'frozen_backbone', 'dinov3_like', 'out/class_attention'),
        (keys_and_values_swapped, 'frozen_backbone', 'dinov3_like', 'out/keys'),
        (map_mirrored, 'frozen_backbone', 'dinov3_like', 'out/tokens_norm'),
        (drop_mask_inverted, 'cnn_baselines', 'module_adl', 'out/drop/y'),
        (attention_without_gradient, 'cnn_baselines', 'module_adl', 'grad/importance/x'),
        (nothing_erased, 'cnn_baselines', 'module_acol', 'out/thr07/cam'),
        (second_branch_cut_off, 'cnn_baselines', 'acol', 'grad/0/classifier_B.0.weight'),
        (few_positions_left_ignored, 'cnn_baselines', 'spg', 'out/2/mask'),
        (mean_of_branches_wrong, 'cnn_baselines', 'module_spg', 'out/default/loss_c_fused'),
        (fewer_cells_hidden, 'cnn_baselines', 'has', 'out/0/image'),
        (heads_weighed_alike, 'found', 'background_mask_th05', 'cosine'),
        (grid_not_balanced, 'found', 'bilateral_solver', 'soft'),
        (own_masks_count_less, 'found', 'decoder_losses', 'loss_self'),
        (wrong_in_float32_alone, 'scm', 'deit_scm_tiny_eval', 'out/S0 in float32'),
        (wrong_in_float64_alone, 'scm', 'deit_scm_tiny_eval', 'out/S0'),
        (wrong_in_float32_alone, 'lctr', 'module_cdm', 'c0/out/y in float32'),
        (wrong_in_float64_alone, 'lctr', 'module_cdm', 'c0/out/y'),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_damage_of_other_methods_is_noticed(monkeypatch, damage, system, name, noticed_by):
    assert failures(name, system) == []
    damage(monkeypatch)
    failed = failures(name, system)
    assert [quantity for quantity in failed if quantity.startswith(noticed_by)], failed
