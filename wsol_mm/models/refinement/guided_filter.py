"""Guided filter: maps that follow the edges of a colour image (He, Sun and Tang, TPAMI 2013)."""

from wsol_mm.registry import MODELS

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .resizing import resized


@MODELS.register_module()
class GuidedFilter(nn.Module):
    """Replaces the map by linear functions of the colours: a ridge regression in every window, averaged.

    A batch is filtered at once, in time that does not depend on what the images show. The functions are
    fitted on a coarser grid and enlarged, as they vary slowly (He and Sun, arXiv 1505.00996): in less time,
    and to nearly the same result.

    Args:
        radius: Windows reach this many pixels in all four directions; they end at the border.
        stride: Pixels between the places of the coarser grid; 1 for all pixels.
        eps: Weight of the ridge, for colours in 0..1: edges of less contrast than its root are not followed.

    Raises:
        ValueError: If an argument is not positive, or the radius no multiple of the stride.
    """

    def __init__(self, radius: int = 12, stride: int = 2, eps: float = 1e-3) -> None:
        super().__init__()
        for name, value in (('radius', radius), ('stride', stride)):
            if not (isinstance(value, int) and value > 0):
                raise ValueError(f'{name}: expected an integer from 1, got {value!r}')
        if radius % stride:
            raise ValueError(f'radius: expected a multiple of the stride {stride}, got {radius}')
        if not eps > 0:
            raise ValueError(f'eps: expected a positive number, got {eps!r}')
        self.radius, self.stride, self.eps = radius, stride, eps

    def __str__(self) -> str:
        return f'guided filter (radius {self.radius}, eps {self.eps:g})'

    def forward(self, maps: Tensor, pixels: Tensor) -> Tensor:
        """Filter maps.

        Args:
            maps: (B, K, H, W), float32.
            pixels: RGB images (B, 3, H, W), 0..255.

        Returns:
            (B, K, H, W). Values may leave the range of the maps by a little.
        """
        image = pixels / 255
        coarse = tuple(-(-side // self.stride) for side in maps.shape[2:])
        guide, maps = resized(image, coarse, 'bilinear'), resized(maps, coarse, 'bilinear')
        colour, mean = self._mean(guide), self._mean(maps)
        pairs = self._mean((guide[:, :, None] * guide[:, None]).flatten(1, 2)).unflatten(1, (3, 3))
        covariance = pairs - colour[:, :, None] * colour[:, None]
        covariance = covariance + self.eps * torch.eye(3).to(covariance)[:, :, None, None]
        shared = self._mean((maps[:, :, None] * guide[:, None]).flatten(1, 2)).unflatten(1, (-1, 3))
        shared = shared - mean[:, :, None] * colour[:, None]
        slopes = torch.einsum('bijhw,bkjhw->bkihw', _inverse(covariance), shared)
        offsets = mean - (slopes * colour[:, None]).sum(dim=2)
        fits = self._mean(torch.cat((slopes, offsets[:, :, None]), dim=2).flatten(1, 2))
        fits = resized(fits, tuple(image.shape[2:]), 'bilinear').unflatten(1, (-1, 4))
        return (fits[:, :, :3] * image[:, None]).sum(dim=2) + fits[:, :, 3]

    def _mean(self, values: Tensor) -> Tensor:
        """Mean over the window of every pixel, of the part of it that is in the image."""
        radius = self.radius // self.stride
        columns = F.avg_pool2d(values, (2 * radius + 1, 1), 1, (radius, 0), count_include_pad=False)
        return F.avg_pool2d(columns, (1, 2 * radius + 1), 1, (0, radius), count_include_pad=False)


def _inverse(matrices: Tensor) -> Tensor:
    """Invert symmetric positive matrices (B, 3, 3, H, W): a solver would take them one by one."""
    first, second, third = matrices.unbind(1)
    cofactors = torch.stack(
        [torch.linalg.cross(*rows, dim=1) for rows in ((second, third), (third, first), (first, second))], 1
    )
    return cofactors / (first * cofactors[:, 0]).sum(dim=1)[:, None, None]
