"""Base of the heads on a frozen backbone: a linear classifier on the class token, one map for all classes."""

from typing import Any

from wsol_mm.structures import Features

from torch import Tensor, nn

from .localization_head import LocalizationHead

#: Tokens before or behind the final normalisation, and what they are called in :class:`Features`.
TOKENS = ('normed', 'pre_norm')
#: What can be classified.
POOLINGS = ('cls_token', 'mean', 'pooled')


class ProbeHead(LocalizationHead):
    """A linear probe for the class; a method adds the localization map.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels D of the feature map.
        tokens: ``'normed'``: class token and feature map after the backbone's final normalisation, or
            ``'pre_norm'``: before it.
        pooling: What is classified: ``'cls_token'`` or, for a backbone without class token, ``'pooled'``, the
            output of its attention pool, or ``'mean'``, the mean of the feature map.
        dropout: Of what is classified.
        **kwargs: Further arguments of :class:`LocalizationHead`.

    Raises:
        ValueError: If ``tokens`` or ``pooling`` has another value.
    """

    class_agnostic = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        tokens: str = 'normed',
        pooling: str = 'cls_token',
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        if tokens not in TOKENS:
            raise ValueError(f'tokens: expected one of {TOKENS}, got {tokens!r}')
        if pooling not in POOLINGS:
            raise ValueError(f'pooling: expected one of {POOLINGS}, got {pooling!r}')
        self.tokens, self.pooling = tokens, pooling
        self.needs_feature_map = tokens == 'normed'
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(in_channels, num_classes)

    @property
    def _map_needs(self) -> frozenset[str]:
        """What :meth:`patch_features` needs."""
        return frozenset({'pre_norm_map'} if self.tokens == 'pre_norm' else ())

    @property
    def _classified(self) -> str:
        """Name of what is classified, if that is not the mean of the map."""
        if self.pooling == 'pooled':
            return 'pooled'
        return 'pre_norm_cls_token' if self.tokens == 'pre_norm' else 'cls_token'

    @property
    def logits_needs(self) -> frozenset[str]:
        """What is classified."""
        return self._map_needs if self.pooling == 'mean' else frozenset({self._classified})

    @property
    def loss_needs(self) -> frozenset[str]:
        """What is classified, where the map needs no training."""
        return self.logits_needs

    def patch_features(self, feats: Features) -> Tensor:
        """Return the patch tokens, (B, D, h, w), of the kind that ``tokens`` names."""
        return feats.require('pre_norm_map') if self.tokens == 'pre_norm' else feats.feature_map

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, (B, C)."""
        if self.pooling == 'mean':
            pooled = self.patch_features(feats).mean(dim=(2, 3))
        else:
            pooled = feats.require(self._classified)
        return self.classifier(self.dropout(pooled))
