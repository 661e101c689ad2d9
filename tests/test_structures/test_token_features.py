"""Tests of wsol_mm.structures.token_features."""

from wsol_mm.structures import TokenFeatures
from wsol_mm.structures.token_features import check_attention_request

import pytest
import torch


def test_is_a_tuple_with_optional_parts():
    feats = TokenFeatures(torch.zeros(2, 8, 3, 4), torch.zeros(2, 8))
    assert isinstance(feats, tuple)
    assert feats.attention is None and feats.conv_map is None
    assert feats.grid == (3, 4)


@pytest.mark.parametrize('request_', ['none', 'class', 'propagated', 'full'])
def test_known_requests(request_):
    assert check_attention_request(request_) == request_


def test_unknown_request_is_named():
    with pytest.raises(ValueError, match="out_attention must be one of .*'class'.* got 'cls'"):
        check_attention_request('cls')


def test_layers_may_show_different_maps():
    tokens = torch.arange(2 * 14 * 8, dtype=torch.float32).reshape(2, 14, 8)
    rows, masks = torch.rand(3, 2, 4, 14), torch.rand(3, 2, 14)
    layer_maps = [
        {'attention': rows[0]},
        {'attention': rows[1], 'spatial_mask': masks[1]},
        {'attention': rows[2], 'spatial_mask': masks[2]},
    ]
    feats = TokenFeatures.from_tokens(tokens, (3, 4), layer_maps)
    assert torch.equal(feats.attention, rows.transpose(0, 1))
    assert torch.equal(feats.spatial_mask, masks[1:].transpose(0, 1))
    assert feats.propagated is None and feats.conv_map is None
    assert torch.equal(feats.cls_token, tokens[:, 0])
    assert torch.equal(feats.patch_map[:, :, 1, 2], tokens[:, 1 + 4 + 2])
