"""Tests of wsol_mm.structures.features."""

from wsol_mm.structures import Features
from wsol_mm.structures.features import check_needs

import pytest
import torch


def test_only_the_feature_map_is_always_there():
    feats = Features(torch.zeros(2, 8, 3, 4))
    assert isinstance(feats, tuple)
    assert feats.cls_token is None and feats.class_attention is None
    assert feats.stages == () and dict(feats.extras) == {}
    assert feats.grid == (3, 4)


def test_layers_may_show_different_maps():
    tokens = torch.arange(2 * 14 * 8, dtype=torch.float32).reshape(2, 14, 8)
    rows, masks, conv_map = torch.rand(3, 2, 4, 14), torch.rand(3, 2, 14), torch.rand(2, 5, 6, 8)
    layer_maps = [
        {'class_attention': rows[0]},
        {'class_attention': rows[1], 'spatial_mask': masks[1]},
        {'class_attention': rows[2], 'spatial_mask': masks[2]},
    ]
    feats = Features.from_tokens(tokens, (3, 4), layer_maps, conv_map=conv_map)
    assert torch.equal(feats.class_attention, rows.transpose(0, 1))
    assert set(feats.extras) == {'spatial_mask', 'conv_map'}
    assert torch.equal(feats.extras['spatial_mask'], masks[1:].transpose(0, 1))
    assert feats.extras['conv_map'] is conv_map
    assert torch.equal(feats.cls_token, tokens[:, 0])
    assert torch.equal(feats.feature_map[:, :, 1, 2], tokens[:, 1 + 4 + 2])


@pytest.mark.parametrize('patch_start', [0, 1, 5])
def test_tokens_before_and_behind_the_patches(patch_start):
    tokens = torch.arange(2 * (patch_start + 13) * 8, dtype=torch.float32).reshape(2, patch_start + 13, 8)
    feats = Features.from_tokens(tokens, (3, 4), patch_start=patch_start)
    for row in range(3):
        for column in range(4):
            place = patch_start + 4 * row + column
            assert torch.equal(feats.feature_map[:, :, row, column], tokens[:, place])
    if patch_start:
        assert torch.equal(feats.cls_token, tokens[:, 0])
    else:
        assert feats.cls_token is None
    assert torch.equal(feats.on_grid(tokens[:, :, 0]), feats.feature_map[:, 0])
    assert feats.class_attention is None and dict(feats.extras) == {}


@pytest.mark.parametrize('patch_start', [0, 1, 5])
def test_rows_on_the_grid(patch_start):
    rows = torch.rand(2, 3, patch_start + 12 + 1)
    feats = Features(torch.zeros(2, 8, 3, 4), patch_start=patch_start)
    expected = rows[..., patch_start : patch_start + 12].reshape(2, 3, 3, 4)
    assert torch.equal(feats.on_grid(rows), expected)


def test_extras_are_added_to_a_copy():
    feats = Features(torch.zeros(2, 8, 3, 4), extras={'a': torch.zeros(1)})
    more = feats.with_extras(b=torch.ones(1))
    assert set(feats.extras) == {'a'} and set(more.extras) == {'a', 'b'}


def test_what_is_required_is_named():
    feats = Features(torch.zeros(2, 8, 3, 4), torch.zeros(2, 8), extras={'masks': torch.ones(1)})
    assert feats.require('masks') is feats.extras['masks']
    assert feats.require('cls_token') is feats.cls_token
    with pytest.raises(ValueError, match="expected 'stages', got .'cls_token', 'masks'. beside"):
        feats.require('stages')
    staged = feats._replace(stages=(torch.ones(1),))
    assert staged.require('stages') is staged.stages
    with pytest.raises(ValueError, match="expected 'class_attention', got .'cls_token', 'stages', 'masks'. "):
        staged.require('class_attention')
    message = r"features: expected 'rows', got \['cls_token', 'masks'\] .* needs={'rows'}"
    with pytest.raises(ValueError, match=message):
        feats.require('rows')


def test_needs_beyond_what_is_given_are_named():
    check_needs({'cls_token'}, {'cls_token', 'stages'}, 'Net')
    message = r"MyHead: expected a backbone that gives \['a', 'b'\], got Net, which gives \['cls_token', 'st"
    with pytest.raises(ValueError, match=message):
        check_needs({'b', 'cls_token', 'a'}, {'cls_token', 'stages'}, 'Net', asker='MyHead')
    with pytest.raises(TypeError, match="got the string 'cls_token'"):
        check_needs('cls_token', {'cls_token'}, 'Net')
