"""Keeps the mean area of the localization maps of a batch near a constant."""

from wsol_mm.registry import MODELS

import mmengine.dist as dist
from torch import Tensor, nn


@MODELS.register_module()
class BatchAreaLoss(nn.Module):
    """Distance of the mean area of a batch from a target: abs(mean_b area_b - target).

    The mean is taken before the absolute value, so single images may have any area
    (docs/specifications/sat.md, section 3).

    Args:
        target_area: Wanted mean area, a share of the image in [0, 1].
        across_ranks: Take the mean over the batches of all processes. If not, every process brings the mean
            of its own batch near the target, as the reference does on ILSVRC: a stricter demand. (On CUB the
            reference trains in one process.)
        loss_weight: Factor on the loss.

    Raises:
        ValueError: If ``target_area`` lies outside [0, 1].
    """

    def __init__(
        self, target_area: float = 0.25, across_ranks: bool = False, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        if not 0 <= target_area <= 1:
            raise ValueError(f'target_area: expected a number in [0, 1], got {target_area}')
        self.target_area = target_area
        self.across_ranks = across_ranks
        self.loss_weight = loss_weight

    def forward(self, maps: Tensor) -> Tensor:
        """Return the loss of foreground probabilities (B, h, w), a scalar."""
        area = maps.mean()
        if self.across_ranks:
            everywhere = area.detach().clone()
            dist.all_reduce(everywhere, op='mean')
            # Every process has the value of all and the gradient of its own batch; the mean of the
            # gradients, which data-parallel training takes, is then the gradient of that value.
            area = area + (everywhere - area.detach())
        return self.loss_weight * (area - self.target_area).abs()
