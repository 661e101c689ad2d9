"""Attention Rollout (Abnar and Zuidema, 2020): attention traced through all layers."""

from wsol_mm.structures import Features

import torch
from torch import Tensor


def _mixed(attention: Tensor) -> Tensor:
    """Return attention (..., N, N) mixed with the residual connection, rows normalised to 1."""
    mixed = attention + torch.eye(attention.shape[-1], dtype=attention.dtype, device=attention.device)
    return mixed / mixed.sum(dim=-1, keepdim=True)


def _check(attention: Tensor) -> None:
    if attention.dim() != 4 or attention.shape[-1] != attention.shape[-2]:
        raise ValueError(
            'attention: expected the head mean of all layers, (B, L, N, N), '
            f'got a tensor of shape {tuple(attention.shape)}'
        )


def attention_rollout(attention: Tensor) -> Tensor:
    """Return the rolled-out attention of every token.

    With A_l the head mean of layer l, the result is the product of rownormalise(A_l + I) over the
    layers, later layers on the left: L - 1 products of N x N matrices.

    Args:
        attention: Attention averaged over the heads, (B, L, N, N), rows sum to 1.

    Returns:
        (B, N, N).

    Raises:
        ValueError: If ``attention`` has another shape.
    """
    _check(attention)
    rolled = _mixed(attention[:, 0])
    for layer in range(1, attention.shape[1]):
        rolled = _mixed(attention[:, layer]) @ rolled
    return rolled


def rollout_row(attention: Tensor, token: int = 0) -> Tensor:
    """Return one token's row of :func:`attention_rollout`, by vector times matrix products.

    Args:
        attention: Attention averaged over the heads, (B, L, N, N).
        token: Index of the row; 0 is the class token.

    Returns:
        (B, N).

    Raises:
        ValueError: If ``attention`` has another shape.
    """
    _check(attention)
    row = torch.zeros_like(attention[:, 0, :1])
    row[..., token] = 1
    for layer in reversed(range(attention.shape[1])):
        row = row @ _mixed(attention[:, layer])
    return row.squeeze(1)


def rollout_map(feats: Features) -> Tensor:
    """Return the class token's Attention Rollout on the patch grid.

    Args:
        feats: With ``'full_attention'``, (B, L, H, N, N).

    Returns:
        (B, h, w).

    Raises:
        ValueError: If the features carry no full attention.
    """
    return feats.on_grid(rollout_row(feats.require('full_attention').mean(dim=2)))
