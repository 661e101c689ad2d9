"""Masks of objects that train a decoder: from a frozen backbone alone, or from maps made elsewhere."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from wsol_mm.models.utils.precision import at_least_float32
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .background_discovery import background_discovery
from .class_attention import class_token_attention
from .scaled_maps import scaled_or_zero


class PseudoMasks(nn.Module):
    """Masks of what scores high.

    Masks that are small make a decoder that teaches itself collapse: a mean area of 0.2 to 0.4 is safe. What
    threshold leads there depends on the backbone and the images, hence ``target_area``.

    Args:
        threshold: In the units of the source.
        target_area: Mean area, a share of the image, at which the threshold of every batch is chosen, instead
            of ``threshold``. The area of single images differs.

    Raises:
        ValueError: If not one of the two is given, or the area is not within (0, 1).
    """

    #: What the source needs of the backbone, beyond the feature map.
    needs: ClassVar[frozenset[str]] = frozenset()
    #: What is said where neither threshold nor area is given.
    hint = 'The threshold depends on the backbone'

    def __init__(self, threshold: float | None = None, target_area: float | None = None) -> None:
        super().__init__()
        if (threshold is None) == (target_area is None):
            found = 'neither' if threshold is None else f'both, {threshold} and {target_area}'
            raise ValueError(
                f'threshold, target_area: expected one of them, got {found}. {self.hint}; target_area=0.3 '
                'suits any'
            )
        if target_area is not None and not 0 < target_area < 1:
            raise ValueError(f'target_area: expected a number in (0, 1), got {target_area}')
        self.threshold, self.target_area = threshold, target_area

    @abstractmethod
    def scores(self, feats: Features, data_samples: Sequence[DataSample]) -> Tensor:
        """Return how much every patch looks like an object, (B, h, w)."""

    @abstractmethod
    def above_threshold(self, scores: Tensor) -> Tensor:
        """Return the masks (B, h, w), bool, that ``threshold`` makes of scores."""

    def forward(self, feats: Features, data_samples: Sequence[DataSample]) -> Tensor:
        """Return masks of the objects, (B, h, w), bool.

        Args:
            feats: With what ``needs`` names.
            data_samples: One per image.
        """
        scores = self.scores(feats, data_samples)
        if self.target_area is None:
            return self.above_threshold(scores)
        rank = min(max(round((1 - self.target_area) * scores.numel()), 1), scores.numel())
        return scores > scores.flatten().kthvalue(rank).values


@MODELS.register_module()
class BackgroundMasks(PseudoMasks):
    """What does not resemble the background: the first stage of FOUND.

    Args:
        threshold: Cosine above which a patch is background: 0.3 for the keys of DINO.
        target_area: See :class:`PseudoMasks`.
        apply_weights: See :func:`background_discovery`.
    """

    needs = frozenset({'class_attention', 'keys'})
    hint = 'The published threshold of 0.3 is that of keys of DINO'

    def __init__(
        self, threshold: float | None = None, target_area: float | None = None, apply_weights: bool = True
    ) -> None:
        super().__init__(threshold, target_area)
        self.apply_weights = apply_weights

    def scores(self, feats: Features, data_samples: Sequence[DataSample]) -> Tensor:
        """Return the negative cosine with the background."""
        attention = feats.on_grid(feats.require('class_attention')[:, -1]).flatten(2)
        found = background_discovery(attention, feats.require('keys'), self.apply_weights)
        return -found.cosine.unflatten(1, feats.grid)

    def above_threshold(self, scores: Tensor) -> Tensor:
        """Return what is not more similar to the background than the threshold."""
        assert self.threshold is not None
        return scores >= -self.threshold


@MODELS.register_module()
class AttentionMasks(PseudoMasks):
    """What the class token attends to.

    Args:
        threshold: Attention in multiples of its mean over the patches, 1 if nothing is given.
        target_area: See :class:`PseudoMasks`.
    """

    needs = frozenset({'class_attention'})

    def __init__(self, threshold: float | None = None, target_area: float | None = None) -> None:
        super().__init__(1.0 if threshold is None and target_area is None else threshold, target_area)

    def scores(self, feats: Features, data_samples: Sequence[DataSample]) -> Tensor:
        """Return the attention of the last layer, mean of the heads, over its mean."""
        attention = at_least_float32(class_token_attention(feats)[:, -1])
        return attention / attention.mean(dim=(1, 2), keepdim=True)

    def above_threshold(self, scores: Tensor) -> Tensor:
        """Return where the attention is above."""
        return scores > self.threshold


@MODELS.register_module()
class SavedMapMasks(PseudoMasks):
    """What is high in a map made elsewhere, by any method: ``LoadPseudoMap`` puts it into the sample.

    Args:
        threshold: Share of the range between the least and the largest value of a map.
        target_area: See :class:`PseudoMasks`.
    """

    hint = 'The threshold depends on the method that made the maps'

    def scores(self, feats: Features, data_samples: Sequence[DataSample]) -> Tensor:
        """Return the maps between 0 and 1, on the grid; zeros for a map without contrast.

        Raises:
            ValueError: If there are no maps.
        """
        if 'pseudo_map' not in data_samples[0]:
            raise ValueError(
                "data sample: expected 'pseudo_map', as SavedMapMasks reads it, got "
                f'{sorted(data_samples[0].all_keys())}. LoadPseudoMap in the training pipeline gives it'
            )
        maps = torch.stack([sample.pseudo_map for sample in data_samples]).to(feats.feature_map.device)
        if maps.shape[1:] != feats.grid:
            size = feats.grid
            maps = F.interpolate(maps[:, None], size, mode='bilinear', align_corners=False)[:, 0]
        return scaled_or_zero(maps)

    def above_threshold(self, scores: Tensor) -> Tensor:
        """Return where a map is above."""
        return scores > self.threshold
