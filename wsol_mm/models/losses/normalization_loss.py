"""Pushes every position of a localization map towards 0 or 1."""

from wsol_mm.models.layers.gaussian_filter import GaussianFilter
from wsol_mm.registry import MODELS

from torch import Tensor, nn


@MODELS.register_module()
class NormalizationLoss(nn.Module):
    """Mean of (1 - f) f over the positions of the smoothed maps f.

    See docs/specifications/sat.md, section 3. The smoothing counts zeros beyond the border, so a
    border position at 1 still costs a little.

    Args:
        kernel_size: Side of the smoothing kernel, odd.
        sigmas: See :func:`wsol_mm.models.layers.gaussian_kernel`.
        loss_weight: Factor on the loss.
    """

    def __init__(self, kernel_size: int = 3, sigmas: float = 6.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.filter = GaussianFilter(kernel_size, sigmas)
        self.loss_weight = loss_weight

    def forward(self, maps: Tensor) -> Tensor:
        """Return the loss of foreground probabilities (B, h, w), a scalar."""
        smooth = self.filter(maps)
        return self.loss_weight * ((1 - smooth) * smooth).mean()
