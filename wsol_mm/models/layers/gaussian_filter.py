"""The smoothing kernel of SAT's normalization loss."""

import math

from wsol_mm.models.utils.precision import at_least_float32, autocast_off

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def gaussian_kernel(size: int, sigmas: float) -> Tensor:
    """Return a normalised Gaussian kernel, (size, size), float64.

    The normal distribution is cut at ``sigmas`` standard deviations to each side, its mass is
    collected in ``size`` bins, and the kernel is the square root of the outer product of the bins
    (docs/specifications/sat.md, section 2.3). The square root makes it wider than the Gaussian of the bins.

    Args:
        size: Side of the kernel.
        sigmas: Where the distribution is cut.

    Raises:
        ValueError: If ``size`` or ``sigmas`` is not positive.
    """
    if size < 1:
        raise ValueError(f'size: expected a positive integer, got {size}')
    if sigmas <= 0:
        raise ValueError(f'sigmas: expected a positive number, got {sigmas}')
    half_bin = (2 * sigmas + 1) / size / 2
    edges = torch.linspace(-sigmas - half_bin, sigmas + half_bin, size + 1, dtype=torch.float64)
    bins = (torch.erf(edges / math.sqrt(2)) / 2).diff()
    kernel = torch.outer(bins, bins).sqrt()
    return kernel / kernel.sum()


class GaussianFilter(nn.Module):
    """Convolution of single-channel maps with :func:`gaussian_kernel`, zeros beyond the border.

    Args:
        size: Side of the kernel, odd.
        sigmas: See :func:`gaussian_kernel`.

    Raises:
        ValueError: If ``size`` is even (the filtered map would have another size), or as
            :func:`gaussian_kernel` does.
    """

    def __init__(self, size: int = 3, sigmas: float = 6.0) -> None:
        super().__init__()
        if size % 2 == 0:
            raise ValueError(f'size: expected an odd integer, got {size}')
        self.register_buffer('kernel', gaussian_kernel(size, sigmas).float()[None, None])

    def forward(self, maps: Tensor) -> Tensor:
        """Filter maps (B, h, w), in float32 or better; near the border they are damped."""
        with autocast_off(maps):
            maps = at_least_float32(maps)
            padding = self.kernel.shape[-1] // 2
            return F.conv2d(maps[:, None], self.kernel.to(maps.dtype), padding=padding).squeeze(1)
