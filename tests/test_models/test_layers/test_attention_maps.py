"""Tests of wsol_mm.models.layers.attention_rollout and class_attention."""

from wsol_mm.models.layers import attention_rollout, class_token_attention, rollout_map, rollout_row
from wsol_mm.structures import Features

import pytest
import torch


@pytest.fixture
def feats() -> Features:
    attention = torch.randn(2, 4, 3, 13, 13, dtype=torch.float64).softmax(dim=-1)
    feats = Features(torch.zeros(2, 8, 3, 4), torch.zeros(2, 8), attention[..., 0, :])
    return feats.with_extras(full_attention=attention)


def test_rollout_is_the_product_with_later_layers_on_the_left(feats):
    mean = feats.extras['full_attention'].mean(dim=2)
    expected = torch.eye(13, dtype=torch.float64).expand(2, -1, -1)
    for layer in range(4):
        expected = (mean[:, layer] + torch.eye(13)) / 2 @ expected
    torch.testing.assert_close(attention_rollout(mean), expected)
    torch.testing.assert_close(attention_rollout(mean).sum(dim=-1), torch.ones(2, 13, dtype=torch.float64))


@pytest.mark.parametrize('token', [0, 5])
def test_cheap_row_equals_the_product(feats, token):
    mean = feats.extras['full_attention'].mean(dim=2)
    torch.testing.assert_close(rollout_row(mean, token), attention_rollout(mean)[:, token])


def test_rollout_map_is_the_class_row_on_the_grid(feats):
    expected = attention_rollout(feats.extras['full_attention'].mean(dim=2))[:, 0, 1:].reshape(2, 3, 4)
    torch.testing.assert_close(rollout_map(feats), expected)


def test_class_token_attention_is_the_patches_part_of_the_mean_of_the_heads(feats):
    expected = feats.extras['full_attention'].mean(dim=2)[:, :, 0, 1:].reshape(2, 4, 3, 4)
    torch.testing.assert_close(class_token_attention(feats), expected)


def test_missing_attention_is_an_error(feats):
    bare = feats._replace(class_attention=None, extras={})
    with pytest.raises(ValueError, match="features: expected 'class_attention', got \\['cls_token'\\]"):
        class_token_attention(bare)
    with pytest.raises(ValueError, match="Ask the backbone for needs={'full_attention'}"):
        rollout_map(bare)
    with pytest.raises(ValueError, match=r'\(B, L, N, N\), got a tensor of shape \(2, 4, 3, 13, 13\)'):
        rollout_row(feats.extras['full_attention'])
