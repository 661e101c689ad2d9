"""Attention of tokens to tokens like themselves, after GEM (CVPR 2024, section 3)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

#: What may attend to itself.
SOURCES = ('values', 'keys', 'queries')


def self_self_attention(
    projections: Mapping[str, Tensor],
    temperature: Tensor | float,
    sources: Sequence[str] = SOURCES,
    iterations: int = 1,
) -> Tensor:
    """Return the values, averaged over the tokens that resemble each other, as the mean of all sources.

    A source u of unit length gives the attention P = softmax(t u u^T), after u has been replaced by P u as
    often as ``iterations`` says (docs/specifications/gem.md, section 3). No N x N matrix is stored.

    Args:
        projections: ``values`` and the sources, (B, heads, N, d) each.
        temperature: The factor t, which sharpens the attention; a number, or a tensor that broadcasts, as
            (B, 1, 1, 1).
        sources: Some of :data:`SOURCES`.
        iterations: How often the tokens of a source are first replaced by their own averages.

    Returns:
        (B, heads, N, d).
    """
    averaged = [
        _attend(projections[source], projections['values'], temperature, iterations) for source in sources
    ]
    return torch.stack(averaged).mean(dim=0)


def _attend(tokens: Tensor, values: Tensor, temperature: Tensor | float, iterations: int) -> Tensor:
    for _ in range(iterations):
        tokens = F.normalize(tokens, dim=-1)
        tokens = F.scaled_dot_product_attention(temperature * tokens, tokens, tokens, scale=1.0)
    tokens = F.normalize(tokens, dim=-1)
    return F.scaled_dot_product_attention(temperature * tokens, tokens, values, scale=1.0)
