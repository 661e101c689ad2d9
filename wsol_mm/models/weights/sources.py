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
            f'model.pretrained: expected a file, an address or {TIMM_SCHEME}<model>, got nothing at {source}'
        )
    return unwrap_state_dict(read_checkpoint(source), text)


def unwrap_state_dict(checkpoint: Mapping, source: str) -> dict[str, Tensor]:
    """Return the weights inside a checkpoint: out of its container entry, names without wrappers.

    Parts of a network that stand in entries of their own get these as first part of their names.

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
    weights = weights or {
        f'{part}.{name}': value
        for part, values in content.items()
        if isinstance(values, Mapping) and all(isinstance(value, torch.Tensor) for value in values.values())
        for name, value in values.items()
    }
    if not weights:
        raise CheckpointError(
            f'{source}: expected weights under names of parameters, or in one of the entries '
            f'{", ".join(_CONTAINERS)}, got the entries {describe_names(map(str, checkpoint))}'
        )
    return dict(without_prefixes(weights))


def _fetch_from_timm(name: str) -> dict[str, Tensor]:
    import timm

    if not timm.is_model(name):
        raise ValueError(
            f'model.pretrained: expected a model of timm {timm.__version__} (see timm.list_models()), got '
            f'{TIMM_SCHEME}{name}'
        )
    try:
        return dict(timm.create_model(name, pretrained=True).state_dict())
    except Exception as error:  # of several libraries, that fetch and read the file
        reason = f'{type(error).__name__}: {error}'.strip().splitlines()[0]
        addresses = ' or '.join(timm_addresses(name)) or 'its weights'
        raise OSError(
            f'model.pretrained: expected the weights of {TIMM_SCHEME}{name} in the cache or from the '
            f'network, got neither ({reason}). Where there is a network, fetch {addresses}, and give the '
            'file: model.pretrained=FILE'
        ) from error


def timm_addresses(name: str) -> list[str]:
    """Return where the file with timm's weights of a model can be had; nowhere if timm names none."""
    import timm

    config = timm.get_pretrained_cfg(name)
    addresses = []
    if config is not None and config.hf_hub_id:
        file = config.hf_hub_filename or 'model.safetensors'
        addresses.append(f'https://huggingface.co/{config.hf_hub_id}/resolve/main/{file}')
    if config is not None and config.url:
        addresses.append(str(config.url))
    return addresses
