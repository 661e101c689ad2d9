"""Says in one line how a checkpoint differs from a model, and what may help."""

import re
from pathlib import Path

from .checkpoint_io import CheckpointError, read_checkpoint

_MISMATCH = re.compile(
    r'size mismatch for (.+?): copying a param with shape torch\.Size\(\[([\d, ]*)\]\) from checkpoint, '
    r'the shape in current model is torch\.Size\(\[([\d, ]*)\]\)'
)


def describe_misfit(checkpoint: str | Path, message: str) -> str | None:
    """Say that a checkpoint does not fit a model, how it differs, and what may help.

    Args:
        checkpoint (str | Path): File or address.
        message (str): Text of the RuntimeError of a strict load.

    Returns:
        str | None: One line; None if the text is no report of differences.
    """
    differences = describe_differences(message)
    if differences is None:
        return None
    return f'{checkpoint}{made_by(checkpoint)} does not fit the model of the config: {differences}'


def describe_differences(message: str, shown: int = 3) -> str | None:
    """Put MMEngine's report on a strict load into one line.

    Args:
        message (str): Text of its RuntimeError.
        shown (int): How many keys of a kind to name.

    Returns:
        str | None: Numbers of missing, unexpected and mismatched keys, with the first ones, and what may
        help; None if the text is no such report.
    """
    mismatched = [match.groups() for match in _MISMATCH.finditer(message)]
    keys = {
        'missing': _listed(r'missing keys in source state_dict: (.+)', message),
        'unexpected': _listed(r'unexpected key in source state_dict: (.+)', message),
        'mismatched': [name for name, _, _ in mismatched],
    }
    parts = []
    for kind, names in keys.items():
        if names:
            more = ', ...' if len(names) > shown else ''
            parts.append(f'{len(names)} {kind} ({", ".join(names[:shown])}{more})')
    if not parts:
        return None
    return f'{", ".join(parts)} keys. {_advice(keys, mismatched)}'


def made_by(checkpoint: str | Path) -> str:
    """Return which experiment wrote a checkpoint, to be put behind its name; nothing if it does not say."""
    try:
        meta = read_checkpoint(checkpoint).get('meta')
    except (FileNotFoundError, CheckpointError):  # an address, for one
        return ''
    name = meta.get('experiment_name') if isinstance(meta, dict) else None
    return f' (of {re.sub(r"_[0-9]{8}_[0-9]{6}$", "", name)})' if isinstance(name, str) else ''


def _listed(pattern: str, message: str) -> list[str]:
    return [key for found in re.findall(pattern, message) for key in found.split(', ')]


def _advice(keys: dict[str, list[str]], mismatched: list[tuple[str, str, str]]) -> str:
    """Return what the differences look like: another number of classes, or another model."""
    sizes = {(found.partition(',')[0], wanted.partition(',')[0]) for _, found, wanted in mismatched}
    in_head = all(name.startswith('head.') for name in keys['mismatched'])
    if mismatched and in_head and len(sizes) == 1 and not keys['missing'] and not keys['unexpected']:
        ((found, wanted),) = sizes
        if found != wanted:
            option = f'--cfg-options model.head.num_classes={found}'
            return f'It has {found} classes, the config has {wanted}: {option}'
    return (
        'It was trained with another method, backbone or number of classes (model.head.num_classes) than the '
        "config's; weights in the layout of the authors' code need "
        'tools/model_converters/official_to_wsol_mm.py'
    )
