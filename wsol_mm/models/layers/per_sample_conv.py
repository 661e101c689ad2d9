"""Convolution of every image with kernels of its own, without a loop over the batch."""

import torch.nn.functional as F
from torch import Tensor


def per_sample_conv(x: Tensor, kernels: Tensor) -> Tensor:
    """Convolve every image with its own kernels (stride 1, zero padding to the same size).

    Every kernel offset is a 1x1 product, and ``fold`` shifts and adds them: cheap where an image has few
    kernels.

    Args:
        x: (B, D, h, w).
        kernels: (B, K, D, k, k), k odd.

    Returns:
        (B, K, h, w).
    """
    batch, wanted, channels, size, _ = kernels.shape
    if size == 1:
        return (kernels.flatten(2) @ x.flatten(2)).unflatten(2, x.shape[-2:])
    # `fold` adds towards the offset, a convolution reads from it: hence the flipped kernel.
    offsets = kernels.flip(3, 4).permute(0, 1, 3, 4, 2).reshape(batch, wanted * size * size, channels)
    return F.fold(offsets @ x.flatten(2), x.shape[-2:], kernel_size=size, padding=size // 2)
