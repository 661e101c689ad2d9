"""RPAM, the relational patch-attention module of LCTR (Chen et al., AAAI 2022)."""

from collections.abc import Callable, Collection

from wsol_mm.models.utils.precision import autocast_off
from wsol_mm.structures import Features
from wsol_mm.structures.features import LayerMaps

import torch
import torch.nn.functional as F
from torch import Tensor

from .token_attention import TokenAttention
from .token_encoder_layer import TokenEncoderLayer

#: Entries of the attention weights held at a time on a CPU (one megabyte in float32: what its cache
#: holds), and on an accelerator (a quarter of a gigabyte).
CPU_ENTRIES = 2**18
ACCELERATOR_ENTRIES = 2**26


def propagate_class_row(weights: Tensor) -> Tensor:
    """Return the class token's attention, passed once more through the attention of its layer.

    r[j] = 1/N * sum_i Abar[0, i] * Abar[i, j], with Abar the mean of the heads. The mean is taken before
    the product, and i runs over all N tokens, the class token included. As the product is linear in
    either factor, one vector times the matrices of all heads gives it, and Abar is never formed.

    Args:
        weights: Attention weights of one layer, (B, H, N, N).

    Returns:
        (B, N), all tokens, class token first.
    """
    batch, heads, tokens, _ = weights.shape
    row = weights[:, :, 0].mean(dim=1, keepdim=True) / (heads * tokens)
    # (B, 1, H*N) @ (B, H*N, N): the sum over the heads is a part of the product.
    return (row.expand(-1, heads, -1).reshape(batch, 1, -1) @ weights.flatten(1, 2)).squeeze(1)


def relational_patch_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_weights: Callable[[Tensor, Tensor], Tensor],
    max_entries: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Attend with explicit weights, and propagate the class token's row through the same weights.

    Without gradients, the weights of a few images exist at a time, so memory does not grow with the batch. In
    a program made by ``torch.export`` or ``torch.compile``, whose number of steps is fixed while its batch is
    not, the weights of all images of a layer exist at a time.

    Args:
        query: (B, H, N, d), class token first.
        key: (B, H, N, d).
        value: (B, H, N, d).
        attention_weights: From queries and keys of some images to weights (b, H, N, N).
        max_entries: Numbers that the weights of one step may have; at least one image is taken.
            :data:`CPU_ENTRIES` or :data:`ACCELERATOR_ENTRIES` if None.

    Returns:
        The attended values (B, H, N, d), the class token's rows (B, H, N) and the propagated row (B, N); the
        last two in the precision of the weights.
    """
    if max_entries is None:
        max_entries = CPU_ENTRIES if query.device.type == 'cpu' else ACCELERATOR_ENTRIES
    _, heads, tokens, _ = query.shape
    if torch.compiler.is_compiling():
        return _attend_and_propagate(query, key, value, attention_weights)
    step = max(1, max_entries // (heads * tokens * tokens))
    parts = zip(query.split(step), key.split(step), value.split(step), strict=True)
    results = [_attend_and_propagate(*part, attention_weights) for part in parts]
    attended, rows, propagated = (torch.cat(result) for result in zip(*results, strict=True))
    return attended, rows, propagated


def _attend_and_propagate(
    query: Tensor, key: Tensor, value: Tensor, attention_weights: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    weights = attention_weights(query, key)
    with autocast_off(weights):
        propagated = propagate_class_row(weights)
    # A copy of the row: a view would keep all the weights.
    return weights.to(value.dtype) @ value, weights[:, :, 0].clone(), propagated


class RelationalAttention(TokenAttention):
    """Self-attention that can pass the class token's row once more through its own weights.

    When ``'propagated'`` is asked for, the weights of a few images exist at a time, and serve the output too.
    """

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, needs: Collection[str]
    ) -> tuple[Tensor, LayerMaps]:
        """Return the attended values (B, H, N, d) and the maps, with ``'propagated'`` (B, N) if asked for."""
        if 'propagated' not in needs:
            return super().attend(query, key, value, needs)
        out, row, propagated = relational_patch_attention(query, key, value, self.attention_weights)
        maps = {'class_attention': row, 'propagated': propagated}
        if 'full_attention' in needs:
            maps['full_attention'] = self.attention_weights(query, key)
        if self.training and self.attn_drop:
            out = F.scaled_dot_product_attention(
                query, key, value, dropout_p=self.attn_drop, scale=self.scale
            )
        return out, maps


class RelationalEncoderLayer(TokenEncoderLayer):
    """Encoder layer on :class:`RelationalAttention`."""

    attention_class = RelationalAttention


def relational_patch_maps(feats: Features) -> Tensor:
    """Return RPAM's maps on the patch grid.

    Args:
        feats: With ``'propagated'``.

    Returns:
        (B, L, h, w), one map per layer.

    Raises:
        ValueError: If the features carry no propagated attention.
    """
    return feats.on_grid(feats.require('propagated'))
