"""Where weights come from: files, addresses, timm's hub."""

from collections.abc import Mapping
from pathlib import Path

from wsol_mm.utils.checkpoint_io import CheckpointError, read_checkpoint, without_prefixes

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from .layouts import describe_names

TIMM_SCHEME = 'timm://'
# Entries under which training scripts keep the weights.
_CONTAINERS = ('state_dict', 'model', 'model_state_dict', 'state_dict_ema', 'model_ema')


def fetch_state_dict(source: str | Path) -> dict[str, Tensor]:
    """Return the weights that ``source`` names, under the names it uses.

    Args:
        source: A checkpoint file (``.pth`` and the like, ``.safetensors``), an address that MMEngine's
            ``CheckpointLoader`` knows (``https://...``), or ``timm://<model name>``.

    Returns:
        Names, without the prefixes of wrappers, to weights.

    Raises:
        FileNotFoundError: If the file does not exist.
        CheckpointError: If it is no checkpoint, or holds no weights.
        OSError: If timm cannot fetch the weights.
        ValueError: If timm knows no such model.
    """
    text = str(source)
    if text.startswith(TIMM_SCHEME):
        return _fetch_from_timm(text[len(TIMM_SCHEME) :])
    if '://' in text:
        return unwrap_state_dict(CheckpointLoader.load_checkpoint(text, map_location='cpu'), text)
    if not Path(source).expanduser().is_file():
        raise FileNotFoundError(
            f'model.pretrained: no file at {source}; accepted are a file, an address and {TIMM_SCHEME}<model>'
        )
    return unwrap_state_dict(read_checkpoint(source), text)


def unwrap_state_dict(checkpoint: Mapping, source: str) -> dict[str, Tensor]:
    """Return the weights inside a checkpoint: out of its container entry, names without wrappers.

    Args:
        checkpoint: What was read.
        source: Where from, for the message.

    Raises:
        CheckpointError: If there are no weights in it.
    """
    content = checkpoint
    for container in _CONTAINERS:
        if isinstance(checkpoint.get(container), Mapping):
            content = checkpoint[container]
            break
    weights = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if not weights:
        raise CheckpointError(
            f'{source} holds no weights: its entries are {describe_names(map(str, checkpoint))}; '
            f'expected names of parameters, or one of the entries {", ".join(_CONTAINERS)}'
        )
    return dict(without_prefixes(weights))


def _fetch_from_timm(name: str) -> dict[str, Tensor]:
    import timm

    if not timm.is_model(name):
        raise ValueError(
            f'model.pretrained is {TIMM_SCHEME}{name}, but timm {timm.__version__} knows no such model (see '
            'timm.list_models())'
        )
    try:
        return dict(timm.create_model(name, pretrained=True).state_dict())
    except Exception as error:  # of several libraries, that fetch and read the file
        reason = f'{type(error).__name__}: {error}'.strip().splitlines()[0]
        raise OSError(
            f'model.pretrained is {TIMM_SCHEME}{name}, and its weights can neither be fetched nor are they '
            f'in the cache ({reason}). Without a network give a file: model.pretrained=FILE, of timm or DeiT'
        ) from error
