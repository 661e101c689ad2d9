"""Images and maps of other sizes."""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def resized(values: Tensor, side: tuple[int, ...], mode: Literal['bilinear', 'bicubic']) -> Tensor:
    """Resize images or maps.

    Args:
        values: (B, C, H, W).
        side: Height and width.
        mode: ``'bilinear'``, without aliasing where they become smaller, or ``'bicubic'``, as evaluators
            enlarge maps.

    Returns:
        (B, C, *side); the same tensor if it has this size.
    """
    if tuple(values.shape[2:]) == side:
        return values
    return F.interpolate(values, side, mode=mode, align_corners=False, antialias=mode == 'bilinear')
