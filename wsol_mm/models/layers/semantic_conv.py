"""Convolution to class maps that computes only what is asked for."""

from wsol_mm.models.utils.precision import at_least_float32, autocast_off

import torch.nn.functional as F
from torch import Tensor, nn

from .per_sample_conv import per_sample_conv


class SemanticConv(nn.Conv2d):
    """Convolution from a feature map (that of the patch tokens, for one) to one semantic map per class.

    Calling it gives all C maps. Two cheaper ways give what a model needs
    (docs/specifications/ts_cam.md, section 10): :meth:`pooled` the logits without any map,
    :meth:`class_maps` the maps of a few classes. All three agree up to rounding.

    Args:
        in_channels: Channels D of the feature map.
        num_classes: Number of classes C.
        kernel_size: Odd side of the kernels.
    """

    def __init__(self, in_channels: int, num_classes: int, kernel_size: int = 3) -> None:
        super().__init__(in_channels, num_classes, kernel_size, padding=kernel_size // 2)

    def pooled(self, x: Tensor) -> Tensor:
        """Return the spatial mean of every class map, (B, C), from a feature map (B, D, h, w).

        The mean of a zero-padded convolution is the kernel applied to the means of the shifted, zero-padded
        input (nine of 3x3): a matrix product instead of a convolution over the grid.
        """
        pad = self.kernel_size[0] // 2
        window_means = F.avg_pool2d(F.pad(x, (pad,) * 4), tuple(x.shape[-2:]), stride=1)
        return F.linear(window_means.flatten(1), self.weight.flatten(1), self.bias)

    def class_maps(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the maps of the wanted classes, in float32 or better (also under autocast).

        Args:
            x: Feature map, (B, D, h, w).
            labels: Wanted class indices per image, (B, K), int64.

        Returns:
            (B, K, h, w).
        """
        with autocast_off(x):
            x = at_least_float32(x)
            maps = per_sample_conv(x, self.weight[labels].to(x.dtype))
            if self.bias is None:
                return maps
            return maps + self.bias[labels].to(x.dtype)[..., None, None]
