"""Models of timm without their classifiers, with random weights, timm's own, or those of a file."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from wsol_mm.utils.checkpoint_io import read_checkpoint

import timm
from torch import Tensor, nn

from .sources import timm_addresses, unwrap_state_dict


def create_timm_model(
    name: str, pretrained: bool = False, checkpoint_path: str | Path | None = None, **options: Any
) -> nn.Module:
    """Create a model of timm without its classifier.

    Args:
        name: As ``timm.list_models(pretrained=True)`` knows it, with or without the tag of its weights.
        pretrained: Whether to use timm's weights, from its cache or the network.
        checkpoint_path: File with weights instead (``.safetensors``, or what ``torch.save`` wrote), in any
            layout that timm knows for this model. It is read without executing anything.
        **options: Further arguments of ``timm.create_model``.

    Returns:
        The model. Weights fill all of it but the classifier; a table of positions is resized.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If timm's weights can be had neither from the cache nor from the network; says which file to
            fetch and where to name it.
        ValueError: If timm has no such model, weights are asked for twice, or they do not fit.
    """
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(pretrained=True), n=3) or 'timm.list_models()'
        raise ValueError(f'model_name: expected a model of timm, such as {near}, got {name!r}')
    if options.get('num_classes'):
        raise ValueError(f'num_classes: expected none, as the head classifies, got {options["num_classes"]}')
    options.pop('num_classes', None)
    if pretrained and checkpoint_path is not None:
        raise ValueError(f'checkpoint_path: expected None with pretrained=True, got {str(checkpoint_path)!r}')
    if checkpoint_path is not None:
        return _from_file(name, Path(checkpoint_path).expanduser(), options)
    return _from_timm(name, options) if pretrained else timm.create_model(name, num_classes=0, **options)


def _from_timm(name: str, options: dict[str, Any]) -> nn.Module:
    try:
        # With its classifier: without one timm would leave what is missing random.
        model = timm.create_model(name, pretrained=True, **options)
    except Exception as error:  # of several libraries, that fetch and read the file
        if 'loading state_dict' in str(error):
            raise ValueError(
                f'pretrained: expected options that fit the weights of {name}, got {options}: '
                f'{_reason(error)}'
            ) from error
        addresses = ' or '.join(timm_addresses(name)) or 'a file of its weights (timm names none)'
        raise OSError(
            f'pretrained: expected the weights of {name} in the cache of timm or from the network, got '
            f'neither ({_reason(error)}). Where there is a network, fetch {addresses}, and give the file: '
            'pretrained=False, checkpoint_path=FILE'
        ) from error
    model.reset_classifier(0)
    return model


def _from_file(name: str, path: Path, options: dict[str, Any]) -> nn.Module:
    if not path.is_file():
        raise FileNotFoundError(f'checkpoint_path: expected a file, got nothing at {path}')
    weights = unwrap_state_dict(read_checkpoint(path), str(path))
    config = timm.get_pretrained_cfg(name)
    errors = []
    for classes in _possible_classes(weights, classifier_names(config), getattr(config, 'num_classes', 0)):
        # timm renames and resizes on a copy of what it is given.
        source = dict(state_dict=dict(weights), num_classes=classes, label_offset=0, custom_load=False)
        try:
            model = timm.create_model(
                name, pretrained=True, pretrained_cfg_overlay=source, num_classes=classes, **options
            )
        except (RuntimeError, KeyError, AttributeError) as error:  # shapes and names, or timm's own renaming
            errors.append(error)
            continue
        model.pretrained_cfg.pop('state_dict')  # would keep the weights twice
        model.reset_classifier(0)
        return model
    raise ValueError(f'{path}: expected the weights of {name}, got others: {_reason(errors[0])}') from errors[
        0
    ]


def classifier_names(config: Any) -> tuple[str, ...]:
    """Return the names of the classifiers of a model; a distilled one has two.

    Args:
        config: Its pretrained config, as timm keeps it.
    """
    names = config.get('classifier') if isinstance(config, dict) else getattr(config, 'classifier', None)
    return (names,) if isinstance(names, str) else tuple(names or ())


def _possible_classes(weights: dict[str, Tensor], classifiers: Sequence[str], usual: int) -> tuple[int, ...]:
    """Return how many classes the classifier of a file may have: its own, or none and the usual number."""
    sizes = (weights.get(f'{name}.weight') for name in classifiers)
    own = next((len(size) for size in sizes if size is not None), None)
    return tuple(dict.fromkeys((0, usual))) if own is None else (own,)


def _reason(error: Exception) -> str:
    return ' '.join(f'{type(error).__name__}: {error}'.split())[:300]
