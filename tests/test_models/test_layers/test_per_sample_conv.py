"""Tests of wsol_mm.models.layers.per_sample_conv."""

from wsol_mm.models.layers import per_sample_conv

import pytest
import torch
import torch.nn.functional as F


@pytest.mark.parametrize('size', [1, 3, 5])
@pytest.mark.parametrize('grid', [(14, 14), (7, 9), (1, 4), (2, 2)])
def test_every_image_has_its_own_kernels(grid, size):
    x = torch.randn(3, 6, *grid, dtype=torch.float64, requires_grad=True)
    kernels = torch.randn(3, 4, 6, size, size, dtype=torch.float64, requires_grad=True)
    target = torch.randn(3, 4, *grid, dtype=torch.float64)
    found = per_sample_conv(x, kernels)
    expected = torch.cat(
        [F.conv2d(one[None], kernel, padding=size // 2) for one, kernel in zip(x, kernels, strict=True)]
    )
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad((maps * target).sum(), (x, kernels)) for maps in (found, expected)]
    torch.testing.assert_close(*gradients)
