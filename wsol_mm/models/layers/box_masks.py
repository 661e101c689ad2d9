"""Boxes drawn as maps, of which every threshold makes the same boxes again."""

import torch
from torch import Tensor


def box_masks(boxes: Tensor, side: int) -> Tensor:
    """Draw boxes: 1 inside, 0 outside.

    Sides are rounded to whole pixels, halves to the even one; a box has at least one pixel. A map needs a
    contrast: of a box that fills it, the first pixel is left out, which moves none of its sides.

    Args:
        boxes: (B, 4), x0 y0 x1 y1 with exclusive ends, shares of the image; what is outside is cut off.
        side: Pixels of the maps, from 2.

    Returns:
        (B, side, side), of the type of the boxes.
    """
    low, high = (boxes.clamp(0, 1) * side).round().unflatten(1, (2, 2)).unbind(1)
    low = low.clamp(max=side - 1)
    high = torch.maximum(high, low + 1)
    places = torch.arange(side, device=boxes.device)
    within = (places >= low[..., None]) & (places < high[..., None])
    masks = within[:, 1, :, None] & within[:, 0, None, :]
    first = (places == 0)[:, None] & (places == 0)
    return (masks & ~(first & masks.all(dim=2).all(dim=1)[:, None, None])).to(boxes.dtype)
