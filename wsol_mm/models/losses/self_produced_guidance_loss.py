"""Guidance that a network makes for itself (SPG, Zhang et al., ECCV 2018)."""

from collections.abc import Sequence

from wsol_mm.models.layers.scaled_maps import scaled_maps
from wsol_mm.models.utils.precision import at_least_float32, autocast_off
from wsol_mm.registry import MODELS

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FOREGROUND, BACKGROUND, IGNORED = 1, 0, 255
#: With fewer positions above the threshold, those above a share of the largest value are foreground.
_FEW, _SHARE = 30, 0.7


def guidance_mask(values: Tensor, high: float, low: float) -> Tensor:
    """Return what a map says for certain: foreground, background, and positions to be ignored.

    Args:
        values: Maps, (B, 1, H, W).
        high: Values above it are foreground; where these are fewer than 30 positions of an image, those
            above 0.7 times its largest value.
        low: Values below it are background, whatever the other threshold says.

    Returns:
        (B, 1, H, W), uint8: 1, 0, and 255 for what is ignored.
    """
    above = values > high
    few = above.sum(dim=(2, 3), keepdim=True) < _FEW
    above = torch.where(few, values > _SHARE * values.amax(dim=(2, 3), keepdim=True), above)
    mask = torch.full_like(values, IGNORED, dtype=torch.uint8)
    return mask.masked_fill(above, FOREGROUND).masked_fill(values < low, BACKGROUND)


@MODELS.register_module()
class SelfProducedGuidanceLoss(nn.Module):
    """Three terms: each teaches a branch of one channel by the mask that another map gives.

    Branch B2 learns from the attention of the labelled class, B1 from B2, and C from the mean of B1 and B2
    (docs/specifications/cnn_baselines.md, section 3). A term is the binary cross-entropy, in float32 or
    better, over all positions of the batch that its mask does not ignore.

    Args:
        thresholds: High and low threshold (see :func:`guidance_mask`) of the attention, of B2 and of the
            mean.
        nan_if_empty: Whether a term without positions is NaN, as in the reference, instead of 0.

    Raises:
        ValueError: If there are not three pairs of thresholds.
    """

    def __init__(
        self,
        thresholds: Sequence[Sequence[float]] = ((0.7, 0.01), (0.5, 0.05), (0.7, 0.1)),
        nan_if_empty: bool = False,
    ) -> None:
        super().__init__()
        if [len(pair) for pair in thresholds] != [2, 2, 2]:
            raise ValueError(f'thresholds: expected three pairs (high, low), got {thresholds}')
        self.thresholds = tuple((float(high), float(low)) for high, low in thresholds)
        self.nan_if_empty = nan_if_empty

    def guides(self, class_map: Tensor, b1: Tensor, b2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the masks are made of, without gradients: attention, B2, and the mean of B1 and B2.

        Args:
            class_map: Map of the labelled class, at the size of the masks, (B, 1, H, W).
            b1: Logits of branch B1, the same shape.
            b2: Of branch B2.
        """
        first, second = b1.detach().sigmoid(), b2.detach().sigmoid()
        return scaled_maps(class_map.detach()), second, (first + second) / 2

    def masked_bce(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Return the mean binary cross-entropy over what the mask does not ignore, a scalar."""
        kept = mask != IGNORED
        target = (mask == FOREGROUND).to(logits.dtype)
        losses = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
        count = kept.sum()
        # Not by indexing, which waits for the device to count.
        return (losses * kept).sum() / (count if self.nan_if_empty else count.clamp(min=1))

    def forward(
        self, class_map: Tensor, b1: Tensor, b2: Tensor, c: Tensor, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Return the three terms.

        Args:
            class_map: Map of the labelled class, (B, 1, h, w).
            b1: Logits of branch B1, (B, 1, h', w').
            b2: Of branch B2.
            c: Of branch C.
            size: Height and width of the masks, to which all are enlarged bilinearly.

        Returns:
            ``loss_b2``, ``loss_b1`` and ``loss_c``.
        """
        with autocast_off(c):
            class_map, b1, b2, c = (
                F.interpolate(at_least_float32(logits), size, mode='bilinear', align_corners=False)
                for logits in (class_map, b1, b2, c)
            )
            masks = [
                guidance_mask(guide, high, low)
                for guide, (high, low) in zip(self.guides(class_map, b1, b2), self.thresholds, strict=True)
            ]
            terms = zip(('loss_b2', 'loss_b1', 'loss_c'), (b2, b1, c), masks, strict=True)
            return {name: self.masked_bce(logits, mask) for name, logits, mask in terms}
