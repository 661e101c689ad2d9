"""Attention-based dropout (ADL, Choe and Shim, CVPR 2019): a layer that any backbone takes."""

from wsol_mm.registry import MODELS

import torch
from torch import Tensor, nn


@MODELS.register_module()
class AttentionDropout(nn.Module):
    """Hides the most active region of a feature map, or stresses it, in training; the identity otherwise.

    The mean over the channels is the attention. A draw per batch decides what every image is multiplied by:
    the drop mask, 0 where its attention reaches ``threshold`` times its largest value, or the importance map,
    the sigmoid of the attention. The mask has no gradient. The layer has no parameters: put it into a model
    with ``inserts`` of :class:`~wsol_mm.models.localizers.ImageLocalizer`. One that stands after several
    modules draws for each.

    Args:
        drop_rate: Probability of the drop mask.
        threshold: Share of the largest attention from which a position is dropped.

    Raises:
        ValueError: If one of them is not between 0 and 1.
    """

    def __init__(self, drop_rate: float = 0.75, threshold: float = 0.9) -> None:
        super().__init__()
        for name, value in (('drop_rate', drop_rate), ('threshold', threshold)):
            if not 0 <= value <= 1:
                raise ValueError(f'{name}: expected a number from 0 to 1, got {value}')
        self.drop_rate, self.threshold = drop_rate, threshold

    def extra_repr(self) -> str:
        """Describe the layer in the printed model."""
        return f'drop_rate={self.drop_rate}, threshold={self.threshold}'

    def draw(self, x: Tensor) -> Tensor:
        """Return the number between 0 and 1 that decides for the batch, a scalar on the device of ``x``."""
        return torch.rand((), device=x.device)

    def attention(self, x: Tensor) -> Tensor:
        """Return the mean over the channels, (B, 1, h, w)."""
        return x.mean(dim=1, keepdim=True)

    def drop_mask(self, attention: Tensor) -> Tensor:
        """Return 0 where the attention is high and 1 elsewhere; 1 everywhere if it is negative."""
        largest = attention.amax(dim=(2, 3), keepdim=True)
        return (attention < self.threshold * largest).to(attention.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return a feature map (B, D, h, w), multiplied in training."""
        if not self.training:
            return x
        attention = self.attention(x)
        # Both maps are small; choosing on the device keeps it from waiting.
        drops = self.draw(x) + self.drop_rate >= 1
        return x * torch.where(drops, self.drop_mask(attention.detach()), attention.sigmoid())
