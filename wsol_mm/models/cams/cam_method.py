"""Base of the methods that make maps of a trained classifier."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wsol_mm.models.heads import LocalizationHead
from wsol_mm.structures import Features

import torch
from torch import Tensor

# What the gradients of half-precision logits are multiplied with on their way, so that they stay in range.
_HALF_SCALE = 256.0


class CAMMethod(LocalizationHead):
    """A head without parameters: the logits are the classifier's, the maps come from its features.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels D of the feature map.
        **kwargs: Further arguments of :class:`LocalizationHead`.
    """

    #: Whether the default layer of a transformer is the one before its last attention.
    before_attention: bool = False
    #: Whether it runs the classifier again, see :meth:`attached`.
    reruns: bool = False
    #: What the maps need beyond the logits.
    map_needs: frozenset[str] = frozenset()

    def __init__(self, num_classes: int, in_channels: int, **kwargs: Any) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        # In a list, so that it is no part of this module.
        self._attached: list[Any] = []

    @property
    def logits_needs(self) -> frozenset[str]:
        """The logits themselves."""
        return frozenset({'logits'})

    @property
    def predict_needs(self) -> frozenset[str]:
        """The logits, and what the maps need."""
        return self.logits_needs | self.map_needs

    def forward(self, feats: Features) -> Tensor:
        """Return the logits of the classifier, (B, C)."""
        return feats.require('logits').detach()

    @contextmanager
    def attached(self, classifier: Any) -> Iterator[None]:
        """Let the maps run a :class:`TrainedClassifier` within the context."""
        self._attached[:] = [classifier]
        try:
            yield
        finally:
            self._attached.clear()


def map_gradients(feats: Features, labels: Tensor) -> Tensor:
    """Return the gradients of the logits of the wanted classes with respect to the feature map.

    One backward pass through what follows the layer, for all images and classes at once.

    Args:
        feats: With ``'map_gradient'``.
        labels: (B, K), int64.

    Returns:
        (K, B, D, h, w), in float32 or better.
    """
    logits = feats.require('logits')
    scale = _HALF_SCALE if logits.dtype == torch.float16 else 1.0
    wanted = logits.new_zeros(labels.shape[1], *logits.shape)
    wanted.scatter_(2, labels.T[..., None], scale)
    (gradients,) = torch.autograd.grad(
        logits, feats.feature_map, wanted, retain_graph=True, is_grads_batched=True
    )
    return gradients / scale
