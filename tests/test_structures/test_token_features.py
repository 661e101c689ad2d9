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


@pytest.mark.parametrize('request_', ['none', 'class', 'full'])
def test_known_requests(request_):
    assert check_attention_request(request_) == request_


def test_unknown_request_is_named():
    with pytest.raises(ValueError, match="out_attention must be one of .*'class'.* got 'cls'"):
        check_attention_request('cls')
