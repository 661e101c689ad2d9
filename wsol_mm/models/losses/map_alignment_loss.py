"""Ties a predicted foreground map to an attention map."""

from wsol_mm.registry import MODELS

import torch.nn.functional as F
from torch import Tensor, nn

PAIRINGS = ('batch', 'sample')


@MODELS.register_module()
class MapAlignmentLoss(nn.Module):
    """Mean squared difference of two maps (CATR, OCM).

    Args:
        pairing: ``'batch'`` compares every map of the batch with every attention map, as the reference's code
            does; ``'sample'`` only those of the same image, as the paper says.
        detach_target: Keep the gradient from the attention map; the reference lets it through.

    Raises:
        ValueError: If ``pairing`` is not one of the two.
    """

    def __init__(self, pairing: str = 'batch', detach_target: bool = False) -> None:
        super().__init__()
        if pairing not in PAIRINGS:
            raise ValueError(f'pairing: expected one of {PAIRINGS}, got {pairing!r}')
        self.pairing = pairing
        self.detach_target = detach_target

    def forward(self, maps: Tensor, attention: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            maps: Predicted maps, (B, h, w).
            attention: Attention maps, (B, h, w).
        """
        maps = maps.to(attention.dtype)
        if self.detach_target:
            attention = attention.detach()
        if self.pairing == 'sample':
            return F.mse_loss(maps, attention)
        # The mean over all pairs of (a - b)^2 is var(a) + var(b) + (mean(a) - mean(b))^2 at every position.
        distance = (maps.mean(dim=0) - attention.mean(dim=0)).square()
        return (distance + maps.var(dim=0, correction=0) + attention.var(dim=0, correction=0)).mean()
