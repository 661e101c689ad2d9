"""Pretrained weights fill a layer of the backbone whole, or not at all."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from torch import Tensor, nn

from .layouts import Entry, describe_names

# Tokens and layers outside the numbered ones, without which the rest computes something else.
_NEEDED = re.compile(r'(?:.*\.)?(?:reg_token|register_tokens|storage_tokens|norm_pre\.(?:weight|bias))')
# What would take some weights.
_TAKEN_BY = (
    (r'ls\d\.gamma|gamma_?\d', 'model.backbone.layer_cfgs=dict(layer_scale_init_value=1e-5)'),
    (r'qkv\.bias|[qkv]_bias', 'model.backbone.qkv_bias'),
)
_ANY = "model.backbone=dict(type='TimmBackbone', model_name=...), which is any model of timm as it is"


def check_whole_layers(
    model: nn.Module, entries: Sequence[Entry], chosen: Collection[str], checkpoint: str | Path
) -> None:
    """Stop where a file and a backbone share a layer, but not all of its weights.

    Such a backbone trains on without a word and is worse than it should be. Whole parts may differ: a
    classifier, a distillation token, a decoder; and what a method adds beside the layers of its backbone. A
    bias of zeros is as good as none.

    Args:
        model: With ``backbone``, before it is filled.
        entries: Weights of the file with their names in the model.
        chosen: Names in the model of those that fill it.
        checkpoint: Where they are from, for the message.

    Raises:
        ValueError: If weights of a layer that is filled have no place in it, or it has weights that the file
            lacks. The weights are named, and the setting that takes them.
    """
    kind = type(model.backbone).__name__
    own = model.state_dict()
    filled = {name for name in chosen if name.startswith('backbone.')}
    own_layers = {layer for layer in map(_layer, filled) if layer}
    file_layers = {_layer(entry.name) for entry in entries if entry.target in filled} - {''}
    left = [entry for entry in entries if entry.target not in chosen]
    homeless = [entry.name for entry in left if _belongs(entry, file_layers, own_layers)]
    if homeless:
        raise _homeless_error(model, homeless, checkpoint)
    fresh = [
        name
        for name, value in own.items()
        if name.startswith('backbone.')
        and name not in chosen
        and _layer(name) in own_layers
        and not _changes_nothing(name, value)
        and not any(re.fullmatch(pattern, name) for pattern in getattr(model.backbone, 'own_weights', ()))
    ]
    if fresh:
        raise ValueError(
            f'{checkpoint}: expected weights for all of the layers of {kind} that are filled, got none for '
            f'{describe_names(fresh)}. Settings without them: {_taker(fresh[0])}'
        )


def check_needed_tokens(model: nn.Module, entries: Sequence[Entry], checkpoint: str | Path) -> None:
    """Stop where a file has tokens or norms outside the layers that the backbone does not know.

    Raises:
        ValueError: If there are such weights; they and the setting that takes them are named.
    """
    own = model.state_dict()
    homeless = [entry.name for entry in entries if entry.target not in own and _NEEDED.fullmatch(entry.name)]
    if homeless:
        raise _homeless_error(model, homeless, checkpoint)


def _homeless_error(model: nn.Module, names: Sequence[str], checkpoint: str | Path) -> ValueError:
    return ValueError(
        f'{checkpoint}: expected a place in {type(model.backbone).__name__} for all weights that its layers '
        f'need, got none for {describe_names(names)}. Such weights are taken by {_taker(names[0])}'
    )


def _layer(name: str) -> str:
    """Return the layer of a weight: up to the first number, or else its module; nothing for a lone tensor."""
    numbered = re.match(r'(.*?\.\d+)\.', name)
    layer = numbered[1] if numbered else name.rpartition('.')[0]
    return '' if layer in ('backbone', 'backbone.model') else layer


def _belongs(entry: Entry, file_layers: Collection[str], own_layers: Collection[str]) -> bool:
    """Return whether a weight that is left out belongs to what is filled."""
    if entry.target is not None and not entry.target.startswith('backbone.'):
        return False
    if entry.name.endswith('num_batches_tracked'):
        return False
    return _layer(entry.name) in file_layers if entry.target is None else _layer(entry.target) in own_layers


def _changes_nothing(name: str, value: Tensor) -> bool:
    return name.endswith('num_batches_tracked') or (name.endswith('bias') and not value.any())


def _taker(name: str) -> str:
    return next((setting for pattern, setting in _TAKEN_BY if re.search(pattern, name)), _ANY)
