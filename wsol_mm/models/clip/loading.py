"""Build CLIP models and load their weights with open_clip.

open_clip is imported where it is used: it takes seconds, and only what uses CLIP needs it.
"""

import copy
import difflib
import logging
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wsol_mm.utils.per_node import one_per_node_first
from wsol_mm.utils.torchscript_weights import read_torchscript_weights

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

#: Where the config of CDTR describes CLIP.
CLIP_KEY = 'model.head.sba.clip'

# Entries of OpenAI's archives that are no weights.
_ARCHIVE_FACTS = ('input_resolution', 'context_length', 'vocab_size', 'attn_mask')
# What a repository of weights for open_clip calls its file, unless the tag says otherwise.
_HUB_FILE = 'open_clip_model.safetensors'
# Its tokenizer is that of all models without one of their own.
_PLAIN_MODEL = 'ViT-B-32'


class LoadedCLIP(NamedTuple):
    """A CLIP model with what its inputs need.

    Attributes:
        network: ``open_clip.CLIP`` or ``open_clip.CustomTextCLIP``, float32, on the CPU.
        tokenizer: Turns strings into token ids (number of strings, context length).
        mean: Mean of RGB images in [0, 1] with which it was trained.
        std: Standard deviation of these.
    """

    network: nn.Module
    tokenizer: Callable[[Sequence[str]], Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class _Weights(NamedTuple):
    path: Path
    # open_clip's record of the tag; empty for a file of the user
    tag: Mapping[str, Any]


def load_clip(model: str | Mapping[str, Any], pretrained: str | None, key: str = CLIP_KEY) -> LoadedCLIP:
    """Build a CLIP model and load its weights. PyTorch's random state stays as if nothing had been built.

    Args:
        model: Name in ``open_clip.list_models()``, or a config with ``embed_dim``, ``vision_cfg``,
            ``text_cfg`` and maybe ``quick_gelu``, as in open_clip's ``model_configs``.
        pretrained: Tag of open_clip for a named model, downloaded once per machine into its cache; or a file:
            OpenAI's archive, ``.safetensors``, or a state dict saved by PyTorch. None for random weights, the
            same in every process.
        key: Where the config describes CLIP, for messages.

    Returns:
        The model.

    Raises:
        FileNotFoundError: If there is no such tag or file, or the download fails; says what to download.
        ValueError: If open_clip knows no such model, the config is none, or the weights are not those of the
            model.
    """
    import open_clip

    config = model_config(model, key)
    described = repr(model) if isinstance(model, str) else 'of the given config'
    weights = None if pretrained is None else _find_weights(model, pretrained, key)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = _build(config)
    tag: Mapping[str, Any] = {}
    if weights is None:
        print_log(
            f'{key}.pretrained: expected weights, got None: CLIP has random weights, from which nothing '
            'can be learned. This is for trials of the program alone.',
            logger='current',
            level=logging.WARNING,
        )
    else:
        tag = weights.tag
        _load_weights(network, weights.path, described, key)
        _compare_activation(config, weights, described, key)
        print_log(f'Loaded CLIP model {described} from {weights.path}', logger='current')
    return LoadedCLIP(
        network,
        _tokenizer(model, config),
        tuple(tag.get('mean') or open_clip.OPENAI_DATASET_MEAN),
        tuple(tag.get('std') or open_clip.OPENAI_DATASET_STD),
    )


def model_config(model: str | Mapping[str, Any], key: str = CLIP_KEY) -> dict[str, Any]:
    """Return open_clip's config of a model; no weights are needed.

    Arguments and errors are those of :func:`load_clip`.
    """
    import open_clip

    if isinstance(model, str):
        config = open_clip.get_model_config(model) if model in open_clip.list_models() else None
        if config is None:
            near = difflib.get_close_matches(model, open_clip.list_models(), n=5, cutoff=0.4)
            raise ValueError(
                f'{key}.model: expected a name in open_clip.list_models(), such as '
                f'{near or [_PLAIN_MODEL]}, got {model!r} (open_clip {open_clip.__version__})'
            )
    else:
        config = copy.deepcopy(dict(model))
        missing = [name for name in ('embed_dim', 'vision_cfg', 'text_cfg') if name not in config]
        if missing or 'hf_model_name' in config['text_cfg']:
            raise ValueError(
                f'{key}.model: expected a config of open_clip with embed_dim, vision_cfg and text_cfg '
                f'(a text encoder of open_clip itself), got a dict with {sorted(config)}'
            )
    if 'multimodal_cfg' in config:
        raise ValueError(f'{key}.model: expected a CLIP model, got {model!r}, which writes captions')
    return config


def _build(config: dict[str, Any]) -> nn.Module:
    """Build the network of a config, without the towers' own pretrained weights."""
    import open_clip

    config = copy.deepcopy(config)
    foreign_text = 'hf_model_name' in config['text_cfg']
    if foreign_text:
        config['text_cfg']['hf_model_pretrained'] = False
    if 'timm_model_name' in config['vision_cfg']:
        config['vision_cfg']['timm_model_pretrained'] = False
    custom_text = config.pop('custom_text', False) or foreign_text
    return (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**config)


def _tokenizer(model: str | Mapping[str, Any], config: dict[str, Any]) -> Callable[[Sequence[str]], Tensor]:
    import open_clip

    if isinstance(model, str):
        return open_clip.get_tokenizer(model)
    return open_clip.get_tokenizer(_PLAIN_MODEL, context_length=config['text_cfg'].get('context_length', 77))


def _find_weights(model: str | Mapping[str, Any], pretrained: str, key: str) -> _Weights:
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(model) if isinstance(model, str) else []
    tag = open_clip.get_pretrained_cfg(model, pretrained) if tags else {}
    path = Path(pretrained).expanduser()
    if not tag and not path.is_file():
        accepted = (
            f'a file or one of the tags {tags} of {model}' if tags else 'a file (the model has no tags)'
        )
        raise FileNotFoundError(
            f'{key}.pretrained: expected {accepted}, got {pretrained!r}. Give a local file: '
            f'{key}.pretrained=PATH'
        )
    if not tag:
        return _Weights(path, {})
    try:
        with one_per_node_first():
            return _Weights(Path(open_clip.download_pretrained(tag)), tag)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f'{key}.pretrained: expected the weights {pretrained!r} of the CLIP model {model!r} in the '
            f'cache of open_clip or from the network, got neither ({error}). Where there is a network, '
            f'download {" or ".join(_addresses(tag))}, and give the file: {key}.pretrained=PATH'
        ) from error


def _addresses(tag: Mapping[str, Any]) -> list[str]:
    """Return where the file of a tag can be had."""
    addresses = [tag['url']] if tag.get('url') else []
    repository, _, name = tag.get('hf_hub', '').rpartition('/')
    if repository:
        addresses.append(f'https://huggingface.co/{repository}/resolve/main/{name or _HUB_FILE}')
    return addresses


def _load_weights(network: nn.Module, path: Path, described: str, key: str) -> None:
    import open_clip
    from safetensors import SafetensorError

    try:
        if _is_archive(path):
            # open_clip reads files without running code from them, which refuses TorchScript.
            state = read_torchscript_weights(path)
            weights = {name: v for name, v in state.items() if name.rpartition('.')[2] not in _ARCHIVE_FACTS}
            network.load_state_dict(weights)
        else:
            open_clip.load_checkpoint(network, str(path), strict=True)
    except (RuntimeError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        reason = ' '.join(str(error).split())[:500]
        raise ValueError(
            f'{path}: expected the weights of the CLIP model {described} ({key}.model), got others: {reason}'
        ) from error


def _is_archive(path: Path) -> bool:
    """Return whether a file is a TorchScript archive, as OpenAI publishes its models."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.rpartition('/')[2] == 'constants.pkl' for name in archive.namelist())


def _compare_activation(config: Mapping[str, Any], weights: _Weights, described: str, key: str) -> None:
    """Warn where the weights are known to have been trained with the other GELU."""
    if weights.tag:
        expected = bool(weights.tag.get('quick_gelu', False))
    elif _is_archive(weights.path):
        expected = True
    else:
        return
    if bool(config.get('quick_gelu', False)) != expected:
        print_log(
            f'{key}.model: expected quick_gelu={expected}, with which the weights {weights.path} were '
            f'trained, got {described} with quick_gelu={not expected}: its features are off. Use the model '
            f'whose name {"ends" if expected else "does not end"} in -quickgelu.',
            logger='current',
            level=logging.WARNING,
        )
