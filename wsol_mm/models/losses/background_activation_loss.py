"""Pushes down what a classifier still sees where the foreground is masked out."""

from wsol_mm.registry import MODELS

import torch
from torch import Tensor, nn


@MODELS.register_module()
class BackgroundActivationLoss(nn.Module):
    """Background activation suppression and area constraint of BAS (Wu et al., CVPR 2022).

    Of every image, the score of its class that is left without the foreground over the score of the whole,
    e / (x + 1e-8), counted as 0 and without a gradient where e exceeds x; and the area of the foreground.

    Args:
        area_weight: Weight of the area.
        keep_equal: Whether images with e = x count, at 1 and with a gradient (the authors' code for ILSVRC),
            or not (their code for CUB).
    """

    def __init__(self, area_weight: float = 1.0, keep_equal: bool = False) -> None:
        super().__init__()
        self.area_weight = area_weight
        self.keep_equal = keep_equal

    def forward(self, background: Tensor, whole: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the suppression loss and the weighted area, scalars in float32 or better.

        Args:
            background: Scores e of the masked features, (B,).
            whole: Scores x of the features as they are, (B,); no gradient reaches them.
            maps: Foreground maps in [0, 1], (B, h, w).
        """
        whole = whole.detach()
        counts = background <= whole if self.keep_equal else background < whole
        ratio = background / (whole + 1e-8)
        return torch.where(counts, ratio, 0.0).mean(), self.area_weight * maps.mean()
