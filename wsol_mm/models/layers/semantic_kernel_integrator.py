"""SKI, the semantic kernel integrator of CDTR (TPAMI 2025)."""

from wsol_mm.models.utils.precision import at_least_float32, autocast_off

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .deformable_conv import NUM_TAPS, bilinear_neighbours, deform_conv2d


class SemanticKernelIntegrator(nn.Module):
    """Deformable 3x3 convolution on the category maps whose offsets follow semantics and attention.

    The offsets come from the maps of the class head times the attention map; the kernel is applied to the
    category maps of CSM (the paper's figure shows these two roles the other way round). Only training uses
    it, and of its maps only the spatial mean: :meth:`pooled` gives that without any map, as the kernel
    applied to nine weighted means of the input, C*C*9 products per image instead of C*C*9*h*w. Calling the
    module gives the maps; both agree up to rounding. Everything is computed in float32 or better, also under
    autocast: an offset in half precision would be off by hundredths of a cell.

    Args:
        num_classes: Number of classes C.

    Raises:
        ValueError: If ``num_classes`` is not positive.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f'num_classes: expected an integer from 1, got {num_classes}')
        self.num_classes = num_classes
        self.offset_conv = nn.Conv2d(num_classes, 2 * NUM_TAPS, kernel_size=3, padding=1)
        self.weight = nn.Parameter(torch.empty(num_classes, num_classes, 3, 3))
        self.init_weights()

    def init_weights(self) -> None:
        """Initialise as the reference: at the start the offsets are small constants, not zero."""
        self.offset_conv.reset_parameters()
        nn.init.zeros_(self.offset_conv.weight)
        nn.init.kaiming_uniform_(self.weight, a=0, nonlinearity='relu')

    def offsets(self, head_maps: Tensor, attention: Tensor) -> Tensor:
        """Return how far every tap is moved at every position, in cells of the grid.

        Args:
            head_maps: Class maps of the head, (B, C, h, w).
            attention: Class-agnostic attention map, (B, h, w).

        Returns:
            (B, 18, h, w): rows (channel 2k) and columns (2k+1) of tap k.

        Raises:
            ValueError: If a shape does not fit.
        """
        self._check_maps('head_maps', head_maps)
        batch, _, height, width = head_maps.shape
        if attention.shape != (batch, height, width):
            raise ValueError(
                f'attention: expected the shape {(batch, height, width)} for head_maps '
                f'{tuple(head_maps.shape)}, got {tuple(attention.shape)}'
            )
        with autocast_off(head_maps):
            x = at_least_float32(head_maps)
            x = x * attention.to(x.dtype)[:, None]
            conv = self.offset_conv
            return F.conv2d(x, conv.weight.to(x.dtype), conv.bias.to(x.dtype), padding=1)

    def forward(self, csm_maps: Tensor, offsets: Tensor) -> Tensor:
        """Return the maps of all classes.

        Args:
            csm_maps: Category maps of CSM, (B, C, h, w).
            offsets: Of :meth:`offsets`, (B, 18, h, w).

        Returns:
            (B, C, h, w).

        Raises:
            ValueError: If a shape does not fit.
        """
        self._check_maps('csm_maps', csm_maps)
        self._check_offsets(offsets, csm_maps)
        return deform_conv2d(csm_maps, offsets, self.weight, padding=1)

    def sampling_weights(self, offsets: Tensor) -> Tensor:
        """Return how much each pixel counts for each tap, in the mean over the output positions.

        It is the mean of the bilinear weights with which the tap reads the pixel, so that
        ``csm_maps.flatten(2) @ sampling_weights(offsets)`` are the means that the kernel sees.

        Args:
            offsets: Of :meth:`offsets`, (B, 18, h, w), any grid.

        Returns:
            (B, h*w, 9), not negative; every tap sums to at most 1, to less where it reads outside.

        Raises:
            ValueError: If the shape does not fit.
        """
        if offsets.ndim != 4 or offsets.shape[1] != 2 * NUM_TAPS:
            raise ValueError(f'offsets: expected the shape (B, 18, h, w), got {tuple(offsets.shape)}')
        height, width = offsets.shape[-2:]
        with autocast_off(offsets):
            pixels, weights = bilinear_neighbours(at_least_float32(offsets), (height, width), padding=1)
            total = weights.new_zeros(len(offsets), height * width, NUM_TAPS)
            pixels, weights = (one.transpose(2, 3).flatten(1, 2) for one in (pixels, weights))
            return total.scatter_add(1, pixels, weights) / (height * width)

    def pooled_from(self, means: Tensor) -> Tensor:
        """Return the logits from the means that the kernel sees.

        Args:
            means: Mean of what tap k reads of channel c, (B, C, 9).

        Returns:
            (B, C).

        Raises:
            ValueError: If the shape does not fit.
        """
        if means.ndim != 3 or means.shape[1:] != (self.num_classes, NUM_TAPS):
            raise ValueError(
                f'means: expected the shape (B, {self.num_classes}, {NUM_TAPS}), got {tuple(means.shape)}'
            )
        with autocast_off(means):
            means = at_least_float32(means)
            return F.linear(means.flatten(1), self.weight.flatten(1).to(means.dtype))

    def pooled(self, csm_maps: Tensor, offsets: Tensor) -> Tensor:
        """Return the logits, the spatial mean of every map of :meth:`forward`, without making the maps.

        Args:
            csm_maps: Category maps of CSM, (B, C, h, w).
            offsets: Of :meth:`offsets`, (B, 18, h, w).

        Returns:
            (B, C).

        Raises:
            ValueError: If a shape does not fit.
        """
        self._check_maps('csm_maps', csm_maps)
        self._check_offsets(offsets, csm_maps)
        with autocast_off(csm_maps):
            x = at_least_float32(csm_maps)
            return self.pooled_from(x.flatten(2) @ self.sampling_weights(offsets).to(x.dtype))

    def _check_maps(self, name: str, maps: Tensor) -> None:
        """Raise a ValueError unless ``maps`` is (B, C, h, w)."""
        if maps.ndim != 4 or maps.shape[1] != self.num_classes:
            raise ValueError(
                f'{name}: expected the shape (B, {self.num_classes}, h, w), got {tuple(maps.shape)}'
            )

    @staticmethod
    def _check_offsets(offsets: Tensor, maps: Tensor) -> None:
        """Raise a ValueError unless ``offsets`` is (B, 18, h, w) of the batch and grid of ``maps``."""
        expected = (maps.shape[0], 2 * NUM_TAPS, *maps.shape[-2:])
        if offsets.shape != expected:
            raise ValueError(f'offsets: expected the shape {expected}, got {tuple(offsets.shape)}')
