"""The class token's attention as it is: the map that a frozen transformer has without any training."""

from typing import Any

from wsol_mm.models.layers import class_token_attention
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

from torch import Tensor

from .probe_head import ProbeHead


@MODELS.register_module()
class ClassAttentionHead(ProbeHead):
    """Attention of the class token to the patches in the last layer, mean of the heads; classes by a probe.

    Arguments are those of :class:`ProbeHead`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.needs_feature_map = self.tokens == 'normed' and self.pooling == 'mean'

    @property
    def predict_needs(self) -> frozenset[str]:
        """What is classified, and the attention."""
        return self.logits_needs | {'class_attention'}

    def attention_map(self, feats: Features) -> Tensor:
        """Return the class attention of the last layer, (B, h, w)."""
        return class_token_attention(feats)[:, -1]

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the class attention, (B, 1, h, w); ``labels`` are not used."""
        return self.attention_map(feats)[:, None]
