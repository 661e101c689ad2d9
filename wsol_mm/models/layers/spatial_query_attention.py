"""Attention that the spatial token masks (SAT, Wu et al., ICCV 2023)."""

from collections.abc import Collection
from typing import Any

from wsol_mm.models.utils.precision import at_least_float32, autocast_off
from wsol_mm.structures import Features
from wsol_mm.structures.features import LayerMaps

import torch
from torch import Tensor

from .token_attention import TokenAttention
from .token_encoder_layer import TokenEncoderLayer


class SpatialQueryAttention(TokenAttention):
    """Self-attention weighted by the foreground probability of every key.

    The last token, the spatial token, gives each key a probability (:meth:`spatial_mask`). The
    soft-max attention of all queries is multiplied by it, key by key, without re-normalising: rows no
    longer sum to 1. As (P * m) V = P (m * V), the values are scaled instead and the attention stays
    fused. Weights that are asked for are those before the mask.

    Args:
        embed_dims: Embedding dimension.
        num_heads: Number of heads.
        masked: Whether to mask; if not, this is :class:`TokenAttention`.
        **kwargs: Further arguments of :class:`TokenAttention`.
    """

    def __init__(self, embed_dims: int, num_heads: int, masked: bool = True, **kwargs: Any) -> None:
        super().__init__(embed_dims=embed_dims, num_heads=num_heads, **kwargs)
        self.masked = masked

    def spatial_mask(self, query: Tensor, key: Tensor) -> Tensor:
        """Return the sigmoid of the spatial token's scaled q k^T, averaged over the heads before it.

        The mean over the heads of their products is one product over the whole width.

        Args:
            query: (B, H, N, d), the spatial token last.
            key: (B, H, N, d).

        Returns:
            (B, N), in float32 or better, one probability for every key: class token, patches, spatial token.
        """
        with autocast_off(query):
            spatial = at_least_float32(query[:, :, -1]).flatten(1) * (self.scale / self.num_heads)
            keys = at_least_float32(key).transpose(1, 2).flatten(2)
            return torch.einsum('bnc,bc->bn', keys, spatial).sigmoid()

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, needs: Collection[str]
    ) -> tuple[Tensor, LayerMaps]:
        """Return the attended values (B, H, N, d) and the maps, with ``'spatial_mask'`` (B, N)."""
        if not self.masked:
            return super().attend(query, key, value, needs)
        mask = self.spatial_mask(query, key)
        value = value * mask[:, None, :, None].to(value.dtype)
        out, maps = super().attend(query, key, value, needs)
        return out, {**maps, 'spatial_mask': mask}


class SpatialQueryEncoderLayer(TokenEncoderLayer):
    """Encoder layer on :class:`SpatialQueryAttention`.

    Args:
        *args: Arguments of :class:`TokenEncoderLayer`.
        masked: Whether the spatial token masks the attention.
        **kwargs: Arguments of :class:`TokenEncoderLayer`.
    """

    attention_class = SpatialQueryAttention

    def __init__(self, *args: Any, masked: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.attn.masked = masked


def fused_spatial_mask(feats: Features) -> Tensor:
    """Return the mean over the masked layers of the spatial masks of the patches.

    Args:
        feats: Of a backbone with a spatial token.

    Returns:
        (B, h, w), in (0, 1).

    Raises:
        ValueError: If the features carry no spatial mask.
    """
    return feats.on_grid(feats.require('spatial_mask')).mean(dim=1)
