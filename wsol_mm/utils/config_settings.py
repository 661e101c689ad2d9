"""Read a config, and change settings of it by dotted keys."""

import difflib
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .model_image_size import use_model_image_size

#: Types of config files.
CONFIG_SUFFIXES = ('.py', '.json', '.yaml', '.yml')


def load_config(path: str, options: Mapping[str, Any] | None) -> Config:
    """Read a config file and change settings of it; see :func:`merge_options`."""
    cfg = read_config_file(path)
    merge_options(cfg, options)
    return cfg


def read_config_file(path: str | Path) -> Config:
    """Read a config file.

    Args:
        path: The file.

    Returns:
        The config.

    Raises:
        ValueError: If it cannot be read, with the file and the reason in one line.
    """
    try:
        return Config.fromfile(path)
    # A config in Python is a program, which may raise anything.
    except Exception as error:
        if isinstance(error, RecursionError):
            reason = 'one that is its own base (_base_), or is nested too deep'
        else:
            reason = f'{type(error).__name__}: {" ".join(str(error).split())}'
        raise ValueError(f'{path}: expected a config, got {reason}') from error


def merge_options(cfg: Config, options: Mapping[str, Any] | None) -> None:
    """Change settings of a config, and fill in the image size where it is the model's.

    Two names stand for settings of all data sets: ``data_root``, and ``val_fraction``, with which a folder of
    classes is divided into images for training and for validation.

    Args:
        cfg: Runner config; changed in place.
        options: Dotted keys to values, as in ``{'model.head.num_classes': 5}``.

    Raises:
        ValueError: If a key does not begin with a setting of a run, so that nothing would read it, the config
            has no data set for a name that stands for settings of all, or as :func:`use_model_image_size`
            does.
    """
    options = _for_all_data(cfg, dict(options or {}))
    for key in options:
        first = key.partition('.')[0]
        if first not in _runner_settings():
            raise ValueError(
                f'cfg_options: expected settings that a run reads, got {key}: a run has no setting '
                f'{first!r}{_meant(cfg, key)}'
            )
    cfg.merge_from_dict(options)
    if 'model.head.num_classes' in options:
        cfg.default_num_classes = None  # no longer to be found out
    use_model_image_size(cfg)


def _for_all_data(cfg: Config, options: dict[str, Any]) -> dict[str, Any]:
    """Replace the names that stand for settings of all data sets by these; what is set of one wins."""
    given = {name: options.pop(name) for name in ('data_root', 'val_fraction') if name in options}
    if not given:
        return options
    found: dict[str, Any] = {}
    for split in ('train', 'val', 'test'):
        dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset') or {}
        key = f'{split}_dataloader.dataset'
        while 'dataset' in dataset:  # a wrapper
            dataset, key = dataset['dataset'], f'{key}.dataset'
        if not dataset:
            continue
        if 'data_root' in given:
            found[f'{key}.data_root'] = given['data_root']
        if 'val_fraction' not in given:
            continue
        if dataset.get('type') != 'FolderDataset':
            raise ValueError(
                f'val_fraction: expected a config of a FolderDataset, got a {dataset.get("type")} as {key}'
            )
        # All images are in one folder of classes.
        found |= {f'{key}.data_prefix': '', f'{key}.class_folder': None}
        found |= {
            f'{key}.val_fraction': given['val_fraction'],
            f'{key}.split': 'train' if split == 'train' else 'val',
        }
    if not found:
        raise ValueError(f'{", ".join(given)}: expected a config with data, got one without')
    return found | options


@cache
def _runner_settings() -> frozenset[str]:
    """Return what a runner reads of a config: its own arguments, and what it looks up besides."""
    from mmengine.runner import Runner

    return frozenset(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | {
        'activation_checkpointing',
        'compile',
        'cudnn_benchmark',
        'efficient_conv_bn_eval',
        'find_unused_parameters',
        'model_wrapper_cfg',
        'sync_bn',
    }


def _meant(cfg: Config, key: str) -> str:
    """Return which settings may have been meant: of the same name further down, or of a name like it."""
    first, _, rest = key.partition('.')
    similar = difflib.get_close_matches(first, [name for name in _runner_settings() if name in cfg])
    names = [f'{name}.{rest}' if rest else name for name in similar]
    last = key.rpartition('.')[2]
    names += [name for name in _dotted_names(cfg.to_dict()) if name.rpartition('.')[2] == last]
    names = list(dict.fromkeys(name for name in names if name.partition('.')[0] in _runner_settings()))
    return f'; did you mean {", ".join(names[:5])}?' if names else ''


def _dotted_names(settings: Mapping, prefix: str = '') -> Iterator[str]:
    for name, value in settings.items():
        yield f'{prefix}{name}'
        if isinstance(value, Mapping):
            yield from _dotted_names(value, f'{prefix}{name}.')
