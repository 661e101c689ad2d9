"""Maps between 0 and 1."""

import torch
from torch import Tensor


def scaled_maps(maps: Tensor) -> Tensor:
    """Scale every map so that its smallest value is 0 and its largest is 1.

    Args:
        maps: (B, K, h, w).

    Returns:
        The same; NaN for a map whose values are all equal, as in the reference
        (docs/specifications/cnn_baselines.md, section 2.4).
    """
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
    return (maps - low) / (high - low)


def scaled_or_zero(maps: Tensor) -> Tensor:
    """Scale every map (..., h, w) as :func:`scaled_maps` does; one whose values are all equal becomes 0."""
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)
