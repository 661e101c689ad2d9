"""Tests of wsol_mm.models.layers.relational_patch_attention, and of the request 'propagated'."""

from wsol_mm.models.layers import (
    RelationalAttention,
    propagate_class_row,
    relational_patch_attention,
    relational_patch_maps,
)
from wsol_mm.structures import Features

import pytest
import torch


def dense_propagation(weights: torch.Tensor) -> torch.Tensor:
    """The formula of the paper with the mean attention matrix, token by token."""
    mean = weights.mean(dim=1)
    tokens = mean.shape[-1]
    result = torch.zeros_like(mean[:, 0])
    for i in range(tokens):
        result += mean[:, 0, i, None] * mean[:, i] / tokens
    return result


@pytest.fixture
def build_attention():
    def build(heads: int = 3, width: int = 24, **kwargs) -> RelationalAttention:
        module = RelationalAttention(width, heads, **kwargs).double()
        for parameter in module.parameters():
            parameter.data.normal_(std=0.4)
        return module.eval()

    return build


@pytest.mark.parametrize('heads', [1, 2, 5])
@pytest.mark.parametrize('tokens', [1, 2, 64])
def test_equals_the_dense_formula(heads, tokens):
    weights = torch.randn(3, heads, tokens, tokens, dtype=torch.float64).mul(2).softmax(dim=-1)
    found = propagate_class_row(weights)
    torch.testing.assert_close(found, dense_propagation(weights), atol=1e-15, rtol=1e-12)
    # Rows sum to 1, so that the whole row sums to 1 / N.
    torch.testing.assert_close(found.sum(dim=1), torch.full((3,), 1 / tokens, dtype=torch.float64))


def test_heads_are_averaged_before_the_product():
    weights = torch.randn(2, 3, 9, 9, dtype=torch.float64).mul(2).softmax(dim=-1)
    per_head = (weights[:, :, :1] @ weights).squeeze(2).mean(dim=1) / 9
    assert (propagate_class_row(weights) - per_head).abs().max() > 1e-4


# Grids of 14x14, 24x24 and 7x9, and one with two more tokens at the end.
@pytest.mark.parametrize('tokens', [1 + 14 * 14, 1 + 24 * 24, 1 + 7 * 9, 1 + 7 * 9 + 2])
@pytest.mark.parametrize('heads', [1, 3, 6])
def test_request(build_attention, tokens, heads):
    attention = build_attention(heads)
    x = torch.randn(3, tokens, 24, dtype=torch.float64)
    expected, full = attention(x, {'full_attention'})
    out, maps = attention(x, {'propagated'})
    torch.testing.assert_close(out, expected)
    assert set(maps) == {'class_attention', 'propagated'}
    torch.testing.assert_close(maps['class_attention'], full['class_attention'])
    torch.testing.assert_close(maps['propagated'], dense_propagation(full['full_attention']))


@pytest.mark.parametrize('max_entries', [1, 2 * 3 * 11 * 11, 10**9])
def test_any_number_of_images_at_a_time(build_attention, max_entries):
    attention = build_attention()
    query, key, value = attention.project_qkv(torch.randn(5, 11, 24, dtype=torch.float64))
    sizes = []

    def weights_of(query, key):
        sizes.append(len(query))
        return attention.attention_weights(query, key)

    found = relational_patch_attention(query, key, value, weights_of, max_entries)
    assert sizes == {1: [1] * 5, 726: [2, 2, 1], 10**9: [5]}[max_entries]
    weights = attention.attention_weights(query, key)
    expected = weights @ value, weights[:, :, 0], dense_propagation(weights)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_gradients_are_those_of_the_dense_formula(build_attention):
    attention = build_attention()
    x = torch.randn(3, 13, 24, dtype=torch.float64)
    targets = torch.randn(3, 13, dtype=torch.float64), torch.randn(3, 13, 24, dtype=torch.float64)
    gradients = []
    for name in ('propagated', 'full_attention'):
        attention.zero_grad()
        out, maps = attention(x, {name})
        row = maps[name] if name == 'propagated' else dense_propagation(maps[name])
        ((row * targets[0]).sum() + (out * targets[1]).sum()).backward()
        gradients.append([parameter.grad.clone() for parameter in attention.parameters()])
    torch.testing.assert_close(*gradients)


def test_dropout_leaves_the_maps_alone(build_attention):
    attention = build_attention(attn_drop=0.5).train()
    x = torch.randn(2, 11, 24, dtype=torch.float64)
    expected = attention.eval()(x, {'propagated'})
    found = attention.train()(x, {'propagated'})
    torch.testing.assert_close(found[1], expected[1])
    assert (found[0] - expected[0]).abs().max() > 1e-3


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_maps_stay_in_float32_under_autocast(build_attention, dtype):
    attention = build_attention().float()
    x = torch.randn(2, 11, 24)
    expected = attention(x, {'propagated'})
    with torch.autocast('cpu', dtype=dtype):
        out, maps = attention(x, {'propagated'})
    assert out.dtype == dtype
    scale = expected[0].abs().max().item()
    torch.testing.assert_close(out.float(), expected[0], atol=0.05 * scale, rtol=0)
    for name, value in expected[1].items():
        assert maps[name].dtype == torch.float32
        torch.testing.assert_close(maps[name], value, atol=2e-2 / (11 if name == 'propagated' else 1), rtol=0)


def test_another_attention_is_propagated_too():
    class Uniform(RelationalAttention):
        def attention_weights(self, query, key):
            return torch.full((*query.shape[:3], key.shape[2]), 1 / key.shape[2])

    out, maps = Uniform(24, 3).eval()(torch.randn(2, 11, 24), {'propagated'})
    torch.testing.assert_close(maps['propagated'], torch.full((2, 11), 1 / 121))
    torch.testing.assert_close(out, out[:, :1].expand(-1, 11, -1))


def test_maps_on_the_grid():
    propagated = torch.rand(2, 3, 1 + 20 + 1)
    feats = Features(torch.randn(2, 8, 4, 5), torch.randn(2, 8), extras={'propagated': propagated})
    maps = relational_patch_maps(feats)
    assert torch.equal(maps, propagated[..., 1:21].reshape(2, 3, 4, 5))
    with pytest.raises(ValueError, match="Ask the backbone for needs={'propagated'}"):
        relational_patch_maps(feats._replace(extras={}))
