"""Self-attention that can show how the class token attends, at linear cost."""

from collections.abc import Collection
from typing import Any

from wsol_mm.models.utils.precision import at_least_float32, autocast_off
from wsol_mm.structures.features import LayerMaps

import torch.nn.functional as F
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor


class TokenAttention(MultiheadAttention):
    """Multi-head self-attention with optional attention weights.

    The output comes from the fused attention, which never holds an N x N matrix. Attention weights are
    computed beside it, only when asked for: one extra query row for ``'class_attention'`` (linear in the
    number of tokens), the whole matrix for ``'full_attention'``. Both are differentiable and are taken before
    attention dropout.

    Subclasses change :meth:`attention_weights` (other weights for the map) or :meth:`attend` (other
    features too).

    Args:
        embed_dims: Embedding dimension.
        num_heads: Number of heads.
        qk_scale: Factor on q k^T before the soft-max; ``head_dims ** -0.5`` if None.
        **kwargs: Further arguments of mmpretrain's ``MultiheadAttention``, but for ``v_shortcut``.

    Raises:
        ValueError: If ``embed_dims`` is no multiple of ``num_heads``, or ``v_shortcut`` is asked for.
    """

    def __init__(self, embed_dims: int, num_heads: int, qk_scale: float | None = None, **kwargs: Any) -> None:
        # The parent reads its own `qk_scale` only as a switch, so the scale is kept here.
        super().__init__(embed_dims=embed_dims, num_heads=num_heads, **kwargs)
        if embed_dims % num_heads:
            raise ValueError(f'embed_dims: expected a multiple of num_heads={num_heads}, got {embed_dims}')
        if self.v_shortcut:
            raise ValueError('v_shortcut: expected False, got True')
        del self.scaled_dot_product_attention
        self.scale = self.head_dims**-0.5 if qk_scale is None else qk_scale

    def project_qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project tokens (B, N, D) to queries, keys and values, each (B, H, N, d)."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dims)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value

    def attention_weights(self, query: Tensor, key: Tensor) -> Tensor:
        """Return softmax(q k^T * scale), (B, H, Q, N), in float32 or better.

        Args:
            query: (B, H, Q, d), for instance the class token's row alone (Q = 1).
            key: (B, H, N, d).
        """
        with autocast_off(query):
            query, key = at_least_float32(query), at_least_float32(key)
            return (query * self.scale @ key.transpose(-2, -1)).softmax(dim=-1)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, needs: Collection[str]
    ) -> tuple[Tensor, LayerMaps]:
        """Return the attended values (B, H, N, d) and the maps that were asked for.

        ``'class_attention'`` is (B, H, N); ``'full_attention'`` (B, H, N, N) comes with the former.
        """
        dropout = self.attn_drop if self.training else 0.0
        out = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=self.scale)
        if 'full_attention' in needs:
            weights = self.attention_weights(query, key)
            return out, {'class_attention': weights[:, :, 0], 'full_attention': weights}
        if 'class_attention' in needs:
            return out, {'class_attention': self.attention_weights(query[:, :, :1], key).squeeze(2)}
        return out, {}

    def forward(self, x: Tensor, needs: Collection[str] = ()) -> tuple[Tensor, LayerMaps]:
        """Attend.

        Args:
            x: Tokens, (B, N, D), class token first.
            needs: Names of the maps to return as well; others than :meth:`attend` has are not its matter.

        Returns:
            Tokens (B, N, D), and the maps as :meth:`attend` gives them.
        """
        out, maps = self.attend(*self.project_qkv(x), needs)
        out = self.proj(out.transpose(1, 2).reshape(x.shape[0], x.shape[1], self.embed_dims))
        out = self.out_drop(self.gamma1(self.proj_drop(out)))
        return out, maps
