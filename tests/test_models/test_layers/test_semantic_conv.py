"""Tests of wsol_mm.models.layers.semantic_conv."""

from wsol_mm.models.layers import SemanticConv

import pytest
import torch
import torch.nn.functional as F

GRIDS = [(5, 7), (14, 14), (2, 3), (1, 1), (1, 6)]


@pytest.fixture
def conv() -> SemanticConv:
    return SemanticConv(12, 9).double()


@pytest.mark.parametrize('grid', GRIDS)
def test_pooled_is_the_mean_of_the_maps(conv, grid):
    x = torch.randn(3, 12, *grid, dtype=torch.float64)
    expected = F.conv2d(x, conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(conv(x), expected)
    torch.testing.assert_close(conv.pooled(x), expected.mean(dim=(2, 3)))


@pytest.mark.parametrize('grid', GRIDS)
def test_class_maps_are_the_wanted_channels(conv, grid):
    x = torch.randn(3, 12, *grid, dtype=torch.float64)
    labels = torch.tensor([[0, 8, 3, 3], [1, 1, 2, 7], [5, 0, 8, 4]])
    expected = torch.stack([maps[wanted] for maps, wanted in zip(conv(x), labels, strict=True)])
    torch.testing.assert_close(conv.class_maps(x, labels), expected)


def test_pooled_has_the_gradients_of_the_convolution(conv):
    x = torch.randn(3, 12, 5, 7, dtype=torch.float64, requires_grad=True)
    target = torch.randn(3, 9, dtype=torch.float64)
    gradients = []
    for logits in (conv.pooled(x), conv(x).mean(dim=(2, 3))):
        gradients.append(torch.autograd.grad((logits * target).sum(), (x, conv.weight, conv.bias)))
    torch.testing.assert_close(*gradients)


def test_maps_stay_in_float32_under_autocast():
    conv = SemanticConv(12, 9)
    x, labels = torch.randn(2, 12, 6, 6), torch.tensor([[1], [8]])
    expected = conv.class_maps(x, labels)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(conv.class_maps(x, labels), expected)
        assert conv.class_maps(x.bfloat16(), labels).dtype == torch.float32
        assert conv.pooled(x).dtype == torch.bfloat16


def test_default_initialisation_is_pytorchs():
    conv = SemanticConv(384, 200)
    bound = (9 * 384) ** -0.5
    assert conv.weight.abs().max() <= bound and conv.weight.abs().max() > 0.99 * bound
    assert conv.bias.abs().max() <= bound
