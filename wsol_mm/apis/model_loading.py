"""Finds a config by file or model name, and loads a trained model with it."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import wsol_mm
from wsol_mm.registry import MODELS
from wsol_mm.utils.checkpoint_differences import non_finite, read_fitting_checkpoint
from wsol_mm.utils.checkpoint_io import read_checkpoint
from wsol_mm.utils.class_number import leaves_classes_open, set_classes
from wsol_mm.utils.config_checks import check_model_settings
from wsol_mm.utils.config_settings import CONFIG_SUFFIXES, read_config_file
from wsol_mm.utils.model_wrappers import unwrapped

import mmengine
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import load_state_dict


def list_model_names() -> list[str]:
    """Return the names of all models of the model index, sorted."""
    return sorted(_indexed_models())


def find_config(model: str | Path | Config) -> tuple[Config, str | None]:
    """Find a config and, where the model index names them, published weights.

    Args:
        model: Config file (.py, .json, .yaml), config, or a name of the model index such as
            ``'sat_deit-s_cub'``.

    Returns:
        A config of the caller alone, and file or address of the weights.

    Raises:
        FileNotFoundError: If there is no such config file.
        ValueError: If the name is unknown.
    """
    if isinstance(model, Config):
        return model.copy(), None
    if Path(model).suffix in CONFIG_SUFFIXES:
        if not Path(model).is_file():
            raise FileNotFoundError(f'model: expected a config file, got nothing at {model}')
        return read_config_file(model), None
    models = _indexed_models()
    if str(model) not in models:
        raise ValueError(
            'model: expected a config file, a Config or a name of the model index '
            f'({", ".join(sorted(models))}), got {str(model)!r}'
        )
    entry = models[str(model)]
    return read_config_file(_index_folder() / entry['Config']), entry.get('Weights')


def build_localizer(cfg: Config, classes: Sequence[str] | None = None) -> BaseModel:
    """Build the model of a config in evaluation mode, without the weights that training starts from.

    Args:
        cfg: Runner config.
        classes: Names for a model that finds what it is told to, in place of the config's.

    Returns:
        The model with random weights, or those that it has without training, on the CPU.
    """
    check_model_settings(cfg)
    settings = {'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model, 'pretrained': None}
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'wsol_mm')):
        if classes is not None and getattr(MODELS.get(settings['type']), 'open_vocabulary', False):
            settings['class_names'] = list(classes)
        return MODELS.build(settings).eval()


def load_localizer(
    cfg: Config,
    checkpoint: str | Path | None,
    classes: Sequence[str] | None = None,
    device: str | torch.device | None = None,
    finite: bool = False,
) -> tuple[BaseModel, tuple[str, ...]]:
    """Build the model of a config and load all its weights.

    Args:
        cfg: Runner config; where it leaves the number of classes open, that of the checkpoint is set.
        checkpoint: File or address; None for a model that needs no training.
        classes: Names of the classes. By default those that training has written into the checkpoint, or
            ``class 0``, ``class 1``, ... if there are none. A :class:`CLIPLocalizer` is told to find them; by
            default those of the config.
        device: See :func:`usable_device`.
        finite: Whether weights that hold NaN, or parameters that hold infinity, are an error; else there is a
            warning.

    Returns:
        The model in evaluation mode, and the class names.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the checkpoint is missing, cannot be read or does not fit the model, the number of
            class names is not that of the model's classes, a :class:`CLIPLocalizer` has none or one twice,
            weights are not ``finite`` as asked, or there is no such device.
    """
    device = usable_device(device)
    if checkpoint is not None and leaves_classes_open(cfg) and Path(checkpoint).is_file():
        trained_on = saved_classes(read_checkpoint(checkpoint, lazily=True))
        if trained_on is not None:
            set_classes(cfg, len(trained_on), checkpoint)
    model = build_localizer(cfg, classes)
    if getattr(model, 'open_vocabulary', False):
        classes = _told_classes(model, classes)
    if checkpoint is None:
        check_trained(model)
        content = {}
    else:
        content = read_fitting_checkpoint(checkpoint, model)
        load_state_dict(model, content['state_dict'], strict=True)
        bad = non_finite(content['state_dict'], {name for name, _ in model.named_parameters()})
        if bad:
            found = f'expected finite weights, got NaN or infinity in {len(bad)} of them ({bad[0]})'
            if finite:
                raise ValueError(f'{checkpoint}: {found}')
            print_log(f'{checkpoint}: {found}', logger='current', level=logging.WARNING)
    count = model.head.num_classes
    if classes is None:
        saved = saved_classes(content)
        classes = [f'class {index}' for index in range(count)] if saved is None else saved
    if len(classes) != count:
        raise ValueError(
            f'classes: expected a name for each of the {count} classes of the model, got {len(classes)}'
        )
    return model.to(device), tuple(str(name) for name in classes)


def saved_classes(content: object) -> Sequence[str] | None:
    """Return the class names that training has written into a checkpoint; None if there are none."""
    for key in ('meta', 'dataset_meta', 'classes'):
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, list | tuple) else None


def _told_classes(model: BaseModel, classes: Sequence[str] | None) -> Sequence[str]:
    """Return the names of the classes of a model that finds what it is told to.

    Raises:
        ValueError: If there is none, or one twice.
    """
    if classes is None and model.class_names is not None:
        return model.class_names
    if not classes:
        raise ValueError(
            'classes: expected the names of what is to be found (a text file with a name per line), as '
            'model.class_names of the config is not set, got none'
        )
    twice = [name for name, count in Counter(classes).items() if count > 1]
    if twice:
        raise ValueError(f'classes: expected different names, got {", ".join(map(repr, twice[:5]))} twice')
    return classes


def check_trained(model: BaseModel) -> None:
    """Check that a model needs no checkpoint, because it has its weights without training.

    Args:
        model: The model, also one that is wrapped for distributed runs.

    Raises:
        ValueError: If it does need one.
    """
    model = unwrapped(model)
    if not getattr(model, 'trained', False):
        raise ValueError(
            f'checkpoint: expected a file or an address with the weights of {type(model).__name__}, got none'
        )


def usable_device(device: str | torch.device | None = None) -> torch.device:
    """Check that a device can be used here.

    Args:
        device: None for the first GPU, or the CPU where there is none.

    Returns:
        The device.

    Raises:
        ValueError: If there is no such device.
    """
    if device is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        # The value comes back, as it does not from a device without memory such as 'meta'.
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:  # the latter from a PyTorch that was built without CUDA
        gpus = [f'cuda:{index}' for index in range(torch.cuda.device_count())]
        reason = str(error).partition('\n')[0]
        raise ValueError(
            f"device: expected {' or '.join(['cpu', *gpus])} on this machine, got '{device}': {reason}"
        ) from error
    return torch.device(device)


def _index_folder() -> Path:
    """Return the folder of ``model-index.yml``: ``.mim`` in an installed package, else the source tree."""
    package = Path(wsol_mm.__file__).parent
    for folder in (package / '.mim', package.parent):
        if (folder / 'model-index.yml').is_file():
            return folder
    raise FileNotFoundError(
        f'model-index.yml: expected it in {package / ".mim"} or {package.parent}, got none'
    )


def _indexed_models() -> dict[str, dict]:
    folder = _index_folder()
    metafiles = mmengine.load(folder / 'model-index.yml')['Import']
    entries = [entry for metafile in metafiles for entry in mmengine.load(folder / metafile)['Models']]
    return {entry['Name']: entry for entry in entries}
