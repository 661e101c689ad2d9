"""Three regions of an image on features that stay fixed (TriLite, Sabaghi and Oramas, CVPR 2026)."""

from wsol_mm.models.utils.precision import at_least_float32

import torch
from torch import Tensor, nn

#: Channels of the regions; what is neither object nor background is left to the third.
FOREGROUND, BACKGROUND, AMBIGUOUS = range(3)
#: Added to the area of a region that features are averaged over.
_EPS = 1e-6


class RegionDisentanglement(nn.Module):
    """Assign every patch to foreground, background and what is neither, by a soft-max.

    Args:
        in_channels: Channels D of the features.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 3, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(3)

    def forward(self, features: Tensor) -> Tensor:
        """Return the scores of the regions before the soft-max, (B, 3, h, w), of features (B, D, h, w)."""
        return self.bn(self.conv(features))


def region_features(features: Tensor, probabilities: Tensor) -> Tensor:
    """Return the mean feature of every region.

    Args:
        features: (B, D, h, w).
        probabilities: Weight of every place in R regions, (B, R, h, w).

    Returns:
        (B, R, D).
    """
    weights = probabilities.flatten(2)
    sums = torch.einsum('brp,bdp->brd', weights, features.flatten(2).to(weights.dtype))
    return sums / (weights.sum(dim=2, keepdim=True) + _EPS)


def region_probabilities(scores: Tensor) -> Tensor:
    """Return the probability of every region at every place, in float32 or better, (B, 3, h, w)."""
    return at_least_float32(scores).softmax(dim=1)
