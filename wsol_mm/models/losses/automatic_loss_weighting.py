"""Weights of several losses, learned with the model."""

from collections.abc import Sequence

from wsol_mm.registry import MODELS

import torch
from torch import Tensor, nn


@MODELS.register_module()
class AutomaticLossWeighting(nn.Module):
    """Weigh every loss by 0.5 / p^2 and add log(1 + p^2), with a learned p.

    See docs/specifications/cdtr.md, section 3.

    Args:
        num_losses: Number of losses. Their weights start at p = 1.
    """

    def __init__(self, num_losses: int) -> None:
        super().__init__()
        self.params = nn.Parameter(torch.ones(num_losses))

    def forward(self, losses: Sequence[Tensor]) -> list[Tensor]:
        """Return the weighted losses, scalars, to be added up.

        Raises:
            ValueError: If there are more or fewer losses than weights.
        """
        if len(losses) != len(self.params):
            raise ValueError(f'losses: expected {len(self.params)}, one for each weight, got {len(losses)}')
        squares = self.params.square()
        return [
            0.5 / square * loss + torch.log1p(square) for loss, square in zip(losses, squares, strict=True)
        ]
