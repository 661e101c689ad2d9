"""Tests of wsol_mm.models.localizers.foreign_backbones: mmpretrain's backbones in ImageLocalizer."""

from wsol_mm.models.localizers import ImageLocalizer
from wsol_mm.models.localizers.foreign_backbones import foreign_features, foreign_gives
from wsol_mm.registry import MODELS

import pytest
import torch

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
RESNET = dict(type='mmpretrain.ResNet', depth=18, strides=(1, 2, 2, 1), out_indices=(1, 3))
VIT = dict(type='mmpretrain.VisionTransformer', arch='deit-tiny', img_size=64, patch_size=16)


def built(config: dict) -> torch.nn.Module:
    backbone = MODELS.build(config)
    backbone.eval()  # mmpretrain's returns None
    return backbone


def test_last_output_is_the_map_and_earlier_ones_are_stages():
    backbone = built(RESNET)
    expected = backbone(IMAGES)
    feats = foreign_features(backbone, IMAGES)
    assert foreign_gives(backbone) == frozenset()
    assert (feats.grid, feats.cls_token, len(feats.stages)) == ((4, 4), None, 1)
    assert torch.equal(feats.feature_map, expected[1])
    assert torch.equal(feats.stages[0], expected[0])


def test_tokens_are_put_on_the_grid():
    backbone = built({**VIT, 'out_type': 'raw'})
    images = torch.randn(2, 3, 48, 96)
    (tokens,) = backbone(images)
    feats = foreign_features(backbone, images)
    assert foreign_gives(backbone) == {'cls_token'}
    assert (feats.grid, feats.patch_start) == ((3, 6), 1)
    assert torch.equal(feats.cls_token, tokens[:, 0])
    assert torch.equal(feats.feature_map[:, :, 1, 2], tokens[:, 1 + 6 + 2])


@pytest.mark.parametrize('out_type', ['cls_token', 'avg_featmap'])
def test_a_transformer_that_returns_no_map_is_refused(out_type):
    backbone = MODELS.build({**VIT, 'out_type': out_type})
    with pytest.raises(ValueError, match=f"backbone.out_type: expected 'featmap' .* got '{out_type}'"):
        foreign_gives(backbone)


def test_what_is_no_map_is_refused():
    with pytest.raises(
        ValueError, match=r'expected one that returns feature maps .*, got \(2, 12288\) of Fl'
    ):
        foreign_features(torch.nn.Flatten(), IMAGES)


def test_what_it_cannot_give_is_said_when_the_model_is_built():
    head = dict(type='TSCAMHead', num_classes=3, in_channels=512)
    with pytest.raises(
        ValueError, match=r"TSCAMHead: .* gives \['class_attention'\], got ResNet, which gives \[\]"
    ):
        ImageLocalizer(RESNET, head)
