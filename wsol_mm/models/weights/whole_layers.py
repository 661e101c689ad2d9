"""Pretrained weights fill a backbone whole, and none of them is lost inside a layer that they fill."""

import inspect
import re
from collections.abc import Collection, Iterable, Sequence
from os.path import commonprefix
from pathlib import Path

from torch import nn

from .layouts import Entry, describe_names

#: The backbone that is any model of timm as it is.
TIMM_BACKBONE = "model.backbone=dict(type='TimmBackbone', model_name=...) with the model of the weights"
# Tokens and norms beside the layers, without which the layers compute something else.
_NEEDED = re.compile(r'(?:.*\.)?(?:reg_token|register_tokens|storage_tokens|(?:norm_pre|pre_norm)\..+)')
# Weights that depend on an argument of the backbone: its value with them and without.
_SETTINGS = (
    (r'(?:ls\d\.gamma|gamma_?\d(?:\.weight)?)', 'layer_scale_init_value', '1e-5', '0.0'),
    (r'qkv\.bias', 'qkv_bias', 'True', 'False'),
)


def check_needed_weights(model: nn.Module, entries: Sequence[Entry], checkpoint: str | Path) -> None:
    """Stop where a file has tokens or norms beside the layers that the backbone lacks, but the layers need.

    Raises:
        ValueError: If there are such weights; they and what takes them are named.
    """
    own = model.state_dict()
    homeless = [entry.name for entry in entries if entry.target not in own and _NEEDED.fullmatch(entry.name)]
    if homeless:
        raise _homeless_error(model.backbone, homeless, checkpoint)


def check_whole_layers(
    model: nn.Module,
    entries: Sequence[Entry],
    chosen: Collection[str],
    may_stay_fresh: Collection[str],
    checkpoint: str | Path,
) -> None:
    """Stop where a weight is lost inside a layer that is filled, or a layer of the backbone keeps fresh ones.

    Such a backbone would train on without a word and be worse than it should be. The rules:

    - Whatever belongs into a module of the backbone that takes weights, at any depth, is taken. Whole parts
      may be left out: classifiers, a distillation token, a decoder, a stage that the backbone does not have,
      and layers behind its last one.
    - All parameters and running statistics of the backbone are filled, but for those that may stay fresh.

    Args:
        model: With ``backbone``, before it is filled.
        entries: Weights of the file with their names in the model.
        chosen: Names in the model of those that fill it.
        may_stay_fresh: Names in the model of what a backbone adds to a pretrained network, as its
            ``fit_pretrained`` says.
        checkpoint: Where they are from, for the message.

    Raises:
        ValueError: If a rule is broken; the weights are named, and the setting that takes them or does
            without them.
    """
    backbone = model.backbone
    ours = _FilledModules(name for name in model.state_dict() if _is_filled(name, chosen))
    theirs = _FilledModules(entry.name for entry in entries if _is_filled(entry.target, chosen))
    homeless = [
        name
        for name, target, value in entries
        if target not in chosen and value.is_floating_point()  # others are counters and tables of indices
        if (theirs.contain(name) if target is None else ours.contain(target))
    ]
    if homeless:
        raise _homeless_error(backbone, homeless, checkpoint)
    fresh = [name for name in _learned_names(backbone) if name not in chosen and name not in may_stay_fresh]
    if fresh:
        other = f'the architecture of the weights, or {TIMM_BACKBONE}'
        raise ValueError(
            f'{checkpoint}: expected weights for all of {type(backbone).__name__}, got none for '
            f'{describe_names(fresh)}. What does without them: '
            f'{_settings(backbone, fresh, 3, other)}'
        )


class _FilledModules:
    """The modules below the one that holds all of them in which some weights are.

    Args:
        names: Of the weights, in the order of the network.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        paths = [_module_path(name) for name in self.names]
        root = len(commonprefix(paths))
        self.paths = {path[:end] for path in paths for end in range(root + 1, len(path) + 1)}

    def contain(self, name: str) -> bool:
        """Return whether a weight belongs into one of the modules; not so if it is behind the last layer."""
        path = _module_path(name)
        depth = next((end for end in range(len(path), 0, -1) if path[:end] in self.paths), 0)
        return depth > 0 and not self._end_before(path, depth)

    def _end_before(self, path: tuple[str, ...], depth: int) -> bool:
        """Return whether ``path`` continues the numbered layers of a module behind the end of the network."""
        if depth == len(path) or not path[depth].isdigit():
            return False
        inside = [
            index for index, name in enumerate(self.names) if _module_path(name)[:depth] == path[:depth]
        ]
        numbers = [_module_path(self.names[index])[depth:][:1] for index in inside]
        last = max((int(number[0]) for number in numbers if number and number[0].isdigit()), default=-1)
        behind = self.names[inside[-1] + 1 :]
        return int(path[depth]) > last and not any(re.search(r'\.\d+\.', name) for name in behind)


def _module_path(name: str) -> tuple[str, ...]:
    return tuple(name.split('.')[:-1])


def _is_filled(name: str | None, chosen: Collection[str]) -> bool:
    return name is not None and name.startswith('backbone.') and name in chosen


def _learned_names(backbone: nn.Module) -> list[str]:
    """Return the names in the model of all that its backbone learns, parameters and running statistics."""
    statistics = [name for name, _ in backbone.named_buffers() if 'running_' in name]
    return [f'backbone.{name}' for name in (*dict(backbone.named_parameters()), *statistics)]


def _homeless_error(backbone: nn.Module, names: Sequence[str], checkpoint: str | Path) -> ValueError:
    return ValueError(
        f'{checkpoint}: expected a place in {type(backbone).__name__} for all weights of its layers, got '
        f'none for {describe_names(names)}. What takes them: {_settings(backbone, names, 2, TIMM_BACKBONE)}'
    )


def _settings(backbone: nn.Module, names: Iterable[str], column: int, otherwise: str) -> str:
    """Return the settings of a backbone that decide on weights; ``otherwise`` if it has none for some."""
    rows = [
        next(
            (row for row in _SETTINGS if re.fullmatch(rf'.+\.{row[0]}', name) and _accepts(backbone, row[1])),
            None,
        )
        for name in names
    ]
    found = [f'model.backbone.{row[1]}={row[column]}' for row in dict.fromkeys(rows) if row is not None]
    return otherwise if None in rows else ' and '.join(found)


def _accepts(backbone: nn.Module, argument: str) -> bool:
    """Return whether an argument is one of a class or of a base that it hands its arguments on to."""
    return any(argument in inspect.signature(base).parameters for base in type(backbone).__mro__[:-1])
