"""Tests of wsol_mm.models.layers.spatial_query_attention and gaussian_filter."""

from wsol_mm.models.layers import (
    GaussianFilter,
    SpatialQueryAttention,
    TokenAttention,
    fused_spatial_mask,
    gaussian_kernel,
)
from wsol_mm.structures import Features

import pytest
import torch


def explicit(module: SpatialQueryAttention, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The formulas of the paper with every N x N matrix."""
    batch, tokens, width = x.shape
    query, key, value = (
        part.reshape(batch, tokens, module.num_heads, -1).transpose(1, 2)
        for part in (x @ module.qkv.weight.T + module.qkv.bias).chunk(3, dim=-1)
    )
    logits = query @ key.transpose(2, 3) * module.scale
    mask = torch.sigmoid(logits.mean(dim=1)[:, -1])
    weights = logits.softmax(dim=-1)
    out = (weights * mask[:, None, None] @ value).transpose(1, 2).reshape(batch, tokens, width)
    return out @ module.proj.weight.T + module.proj.bias, mask, weights


def build(dims: int = 24, heads: int = 3, **kwargs) -> SpatialQueryAttention:
    module = SpatialQueryAttention(dims, heads, **kwargs).double()
    for parameter in module.parameters():
        parameter.data.normal_(std=0.5)
    return module.eval()


@pytest.mark.parametrize(('dims', 'heads', 'tokens'), [(24, 3, 11), (20, 5, 7), (16, 1, 30)])
def test_masking_the_values_is_masking_the_attention(dims, heads, tokens):
    module = build(dims, heads)
    x = torch.randn(2, tokens, dims, dtype=torch.float64, requires_grad=True)
    out, maps = module(x)
    expected, mask, _ = explicit(module, x)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(maps['spatial_mask'], mask)
    assert mask.std() > 0.05, 'the masks of this test must differ from each other'
    target, weight = torch.randn_like(out), torch.randn_like(mask)
    for ours, theirs in zip(
        torch.autograd.grad(
            (out * target).sum() + (maps['spatial_mask'] * weight).sum(), [x, module.qkv.weight]
        ),
        torch.autograd.grad((expected * target).sum() + (mask * weight).sum(), [x, module.qkv.weight]),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_weights_asked_for_are_those_before_the_mask():
    module = build()
    x = torch.randn(2, 11, 24, dtype=torch.float64)
    weights = explicit(module, x)[2]
    torch.testing.assert_close(module(x, {'class_attention'})[1]['class_attention'], weights[:, :, 0])
    torch.testing.assert_close(module(x, {'full_attention'})[1]['full_attention'], weights)


def test_unmasked_is_plain_attention():
    module = build(masked=False)
    plain = TokenAttention(24, 3).double().eval()
    plain.load_state_dict(module.state_dict())
    x = torch.randn(2, 11, 24, dtype=torch.float64)
    out, maps = module(x)
    assert torch.equal(out, plain(x)[0]) and maps == {}


def test_mask_alone_needs_no_square_matrix(monkeypatch):
    module = build()

    def refuse(self, query, key):
        raise AssertionError('attention weights were computed')

    monkeypatch.setattr(TokenAttention, 'attention_weights', refuse)
    assert module(torch.randn(2, 11, 24, dtype=torch.float64))[1]['spatial_mask'].shape == (2, 11)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_mask_stays_in_float32_under_autocast(dtype):
    module = build().float()
    x = torch.randn(2, 11, 24)
    expected = module(x)[1]['spatial_mask']
    with torch.autocast('cpu', dtype=dtype):
        out, maps = module(x)
    assert out.dtype == dtype and maps['spatial_mask'].dtype == torch.float32
    torch.testing.assert_close(maps['spatial_mask'], expected, atol=3e-2, rtol=0)


def test_fused_map_is_the_mean_over_layers_on_the_patches():
    masks = torch.rand(2, 3, 1 + 12 + 1)
    feats = Features(torch.zeros(2, 8, 3, 4), torch.zeros(2, 8), extras={'spatial_mask': masks})
    torch.testing.assert_close(fused_spatial_mask(feats), masks.mean(dim=1)[:, 1:13].reshape(2, 3, 4))
    with pytest.raises(ValueError, match="features: expected 'spatial_mask'"):
        fused_spatial_mask(feats._replace(extras={}))


def test_kernel_has_the_published_values():
    corner, edge, centre = 0.0026284619234502316, 0.046011604368686676, 0.8054397106170654
    expected = torch.tensor([[corner, edge, corner], [edge, centre, edge], [corner, edge, corner]])
    torch.testing.assert_close(gaussian_kernel(3, 6).float(), expected, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize(('size', 'sigmas'), [(1, 2), (5, 2), (7, 4.5)])
def test_kernel_is_normalised_and_symmetric(size, sigmas):
    kernel = gaussian_kernel(size, sigmas)
    assert kernel.shape == (size, size) and abs(kernel.sum().item() - 1) < 1e-12
    torch.testing.assert_close(kernel, kernel.flip(0, 1).T)


def test_zero_padding_damps_the_border():
    filtered = GaussianFilter()(torch.ones(2, 4, 5))
    assert filtered.shape == (2, 4, 5)
    torch.testing.assert_close(filtered[0, 2, 2].item(), 1.0, atol=1e-6, rtol=0)
    torch.testing.assert_close(filtered[0, 0, 2].item(), 0.9487, atol=1e-4, rtol=0)
    torch.testing.assert_close(filtered[1, 0, 0].item(), 0.9000, atol=1e-4, rtol=0)


def test_wrong_kernels_are_refused():
    with pytest.raises(ValueError, match='size: expected a positive integer, got 0'):
        gaussian_kernel(0, 6)
    with pytest.raises(ValueError, match='size: expected an odd integer, got 4'):
        GaussianFilter(4)
    with pytest.raises(ValueError, match='sigmas: expected a positive number, got 0'):
        gaussian_kernel(3, 0)
