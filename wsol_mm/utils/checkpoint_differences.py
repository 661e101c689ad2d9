"""Tells how a checkpoint differs from a model, by comparing names and shapes."""

import logging
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import NamedTuple

from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from .checkpoint_io import without_prefixes

_SHOWN = 3  # names of a kind


class Differences(NamedTuple):
    """How weights differ from those of a model.

    Attributes:
        missing: Names that only the model has.
        unexpected: Names that only the weights have.
        mismatched: Shapes found and wanted, of names that both have.
        fitting: Number of names that both have, with the same shape.
    """

    missing: list[str]
    unexpected: list[str]
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    fitting: int

    def __str__(self) -> str:
        kinds = ('missing', 'unexpected', 'mismatched')
        counts = [_count(kind, names) for kind in kinds if (names := list(getattr(self, kind)))]
        return f'{", ".join(counts)} keys. {_advice(self)}' if counts else 'none'


def find_differences(weights: Mapping[str, Tensor], model: nn.Module) -> Differences:
    """Compare weights with a model.

    Older checkpoints may lack the counters of batch normalisation: they are not missed.

    Args:
        weights: Names to tensors.
        model: The model.

    Returns:
        All of them.
    """
    found = {name: tuple(getattr(value, 'shape', ())) for name, value in weights.items()}
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    return Differences(
        missing=[name for name in wanted if name not in found and 'num_batches_tracked' not in name],
        unexpected=[name for name in found if name not in wanted],
        mismatched={
            name: (shape, wanted[name])
            for name, shape in found.items()
            if name in wanted and wanted[name] != shape
        },
        fitting=sum(wanted.get(name) == shape for name, shape in found.items()),
    )


def read_fitting_checkpoint(checkpoint: str | Path, model: nn.Module, strict: bool = True) -> dict:
    """Read a checkpoint, if it fits a model.

    Args:
        checkpoint: File or address.
        model: The model, also one that is wrapped for distributed training; it is left as it is.
            Nothing is compared under wrappers that share its weights out among processes, all but
            ``MMDistributedDataParallel``: names and shapes are their own.
        strict: Whether all has to fit; otherwise something has to, and the rest is a warning in the log.

    Returns:
        The checkpoint, with the weights as ``state_dict``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read or does not fit; in one line.
    """
    content = CheckpointLoader.load_checkpoint(str(checkpoint), map_location='cpu', logger='silent')
    weights = without_prefixes(content.get('state_dict', content))
    checked = {**(content if 'state_dict' in content else {}), 'state_dict': weights}
    if is_model_wrapper(model):
        if not isinstance(model, MMDistributedDataParallel):
            return checked
        model = model.module
    found = find_differences(weights, model)
    if not found.fitting or (strict and (found.missing or found.unexpected or found.mismatched)):
        raise ValueError(
            f'{checkpoint}{_made_by(content)}: expected the weights of the model of the config, got {found}'
        )
    if found.missing or found.unexpected or found.mismatched:
        print_log(
            f'{checkpoint}{_made_by(content)}: expected all weights of the model of the config, got '
            f'{found.fitting} that fit: {found}',
            logger='current',
            level=logging.WARNING,
        )
    return checked


def non_finite(weights: Mapping[str, Tensor], parameters: Container[str]) -> list[str]:
    """Find weights that are no numbers.

    Args:
        weights: Names to tensors.
        parameters: Names of those that are parameters; a buffer may be infinite, as a mask is.

    Returns:
        Names of those that hold NaN, and of parameters that hold infinity.
    """
    return [
        name
        for name, value in weights.items()
        if isinstance(value, Tensor)
        and value.is_floating_point()
        and not value.isfinite().all()
        and (name in parameters or bool(value.isnan().any()))
    ]


def _made_by(checkpoint: Mapping) -> str:
    """Return which experiment wrote a checkpoint, to be put behind its name; nothing if it does not say."""
    meta = checkpoint.get('meta')
    name = meta.get('experiment_name') if isinstance(meta, dict) else None
    return f' (of {re.sub(r"_[0-9]{8}_[0-9]{6}$", "", name)})' if isinstance(name, str) else ''


def _count(kind: str, names: list[str]) -> str:
    more = ', ...' if len(names) > _SHOWN else ''
    return f'{len(names)} {kind} ({", ".join(names[:_SHOWN])}{more})'


def _advice(differences: Differences) -> str:
    """Return what the differences look like: another number of classes, or another model."""
    sizes = {(found[:1], wanted[:1]) for found, wanted in differences.mismatched.values()}
    in_head = all(name.startswith('head.') for name in differences.mismatched)
    if in_head and len(sizes) == 1 and not differences.missing and not differences.unexpected:
        ((found, wanted),) = sizes
        if found and wanted and found != wanted:
            return f'It has {found[0]} classes, the config has {wanted[0]}: model.head.num_classes={found[0]}'
    return (
        'It was trained with another method, backbone or number of classes (model.head.num_classes) than the '
        "config's; weights in the layout of the authors' code need "
        'tools/model_converters/official_to_wsol_mm.py'
    )
