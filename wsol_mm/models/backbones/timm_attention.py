"""What the attention of timm's transformers computes and does not show: projections and class attention."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from wsol_mm.models.utils.precision import at_least_float32, autocast_off

import torch
from timm.layers import Attention, AttentionRope, apply_rot_embed_cat
from timm.models.eva import EvaAttention
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

#: The projections of a layer, in the order in which ``qkv`` stacks them.
PROJECTIONS = ('queries', 'keys', 'values')
# Exactly these: others look alike, and add relative positions or subtract a second map.
_KNOWN = (Attention, AttentionRope, EvaAttention)


class AttentionInput(NamedTuple):
    """What an attention is called with.

    Attributes:
        tokens: Normalised tokens, (B, N, D).
        rope: Rotary embedding of the patches, if there is one.
    """

    tokens: Tensor
    rope: Tensor | None


def known_attentions(model: nn.Module) -> list[nn.Module]:
    """Return the attention of every block of a model; none if one of them is not of a known kind."""
    attentions = [getattr(block, 'attn', None) for block in getattr(model, 'blocks', ())]
    return attentions if all(type(module) in _KNOWN for module in attentions) else []


@contextmanager
def recorded_inputs(attentions: Sequence[nn.Module]) -> Iterator[dict[nn.Module, AttentionInput]]:
    """Record what attentions are called with while the context lasts; the hooks go also after an error."""
    inputs: dict[nn.Module, AttentionInput] = {}

    def record(module: nn.Module, args: tuple, kwargs: dict) -> None:
        inputs[module] = AttentionInput(args[0], kwargs.get('rope'))

    with ExitStack() as stack:
        for module in attentions:
            stack.callback(module.register_forward_pre_hook(record, with_kwargs=True).remove)
        yield inputs


def project(attention: nn.Module, tokens: Tensor, name: str) -> Tensor:
    """Return queries, keys or values of tokens (B, N, D), heads concatenated.

    They are neither normalised (``q_norm``, ``k_norm``) nor turned by the rotary embedding.

    Args:
        attention: Of a known kind.
        tokens: What it is called with, or some of them.
        name: One of :data:`PROJECTIONS`.
    """
    index = PROJECTIONS.index(name)
    if attention.qkv is None:  # three layers instead of one
        return (attention.q_proj, attention.k_proj, attention.v_proj)[index](tokens)
    bias = attention.qkv.bias
    if bias is not None:
        bias = bias.chunk(3)[index]
    elif getattr(attention, 'q_bias', None) is not None:  # Eva keeps it apart
        bias = (attention.q_bias, attention.k_bias, attention.v_bias)[index]
    return F.linear(tokens, attention.qkv.weight.chunk(3)[index], bias)


def class_row(attention: nn.Module, given: AttentionInput, prefix: int) -> Tensor:
    """Return the class token's soft-max row over all tokens, (B, H, N), in float32 or better.

    One query instead of N: O(N), and no N x N matrix.

    Args:
        attention: Of a known kind.
        given: What it is called with; the class token is the first one.
        prefix: Number of tokens before the first patch, which no rotary embedding turns.
    """
    query = _by_head(project(attention, given.tokens[:, :1], 'queries'), attention.num_heads)
    groups = getattr(attention, 'num_kv_groups', 1)  # of heads that share their keys
    keys = _by_head(project(attention, given.tokens, 'keys'), attention.num_heads // groups)
    query, keys = attention.q_norm(query), attention.k_norm(keys)
    if given.rope is not None:
        keys = rotated_keys(attention, keys, given.rope, prefix)
    if groups > 1:
        keys = keys.repeat_interleave(groups, dim=1)
    with autocast_off(query):
        scores = at_least_float32(query) @ at_least_float32(keys).transpose(2, 3)
        return (scores * attention.scale).softmax(dim=3)[:, :, 0]


def rotated_keys(attention: nn.Module, keys: Tensor, rope: Tensor, prefix: int) -> Tensor:
    """Return keys (B, H, N, d) with their rotary embedding, which the prefix tokens do not have."""
    turned = apply_rot_embed_cat(keys[:, :, prefix:], rope, half=getattr(attention, 'rotate_half', False))
    return torch.cat((keys[:, :, :prefix], turned.to(keys.dtype)), dim=2)


def _by_head(tokens: Tensor, heads: int) -> Tensor:
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)
