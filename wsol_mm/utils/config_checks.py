"""Find mistakes in a config before anything is built, and say what, where, what is accepted and found."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from wsol_mm import registry

from mmengine.config import Config
from mmengine.registry import Registry

_SPLITS = ('train', 'val', 'test')
_MISSING = object()


class _Number(NamedTuple):
    """What a setting accepts: whole numbers or all, from a lowest one on, maybe several of them."""

    whole: bool
    lowest: float
    several: bool = False

    def __str__(self) -> str:
        kind = 'an integer' if self.whole else 'a number'
        return f'{kind} from {self.lowest:g}{", or several" if self.several else ""}'

    def accepts(self, value: Any) -> bool:
        values = value if self.several and isinstance(value, list | tuple) and value else [value]
        kinds = int if self.whole else int | float
        return all(
            isinstance(one, kinds) and not isinstance(one, bool) and self.lowest <= one < float('inf')
            for one in values
        )


_NUMBERS = {
    'train_cfg.max_epochs': _Number(True, 1),
    'train_cfg.max_iters': _Number(True, 1),
    'train_cfg.val_interval': _Number(True, 1),
    'optim_wrapper.optimizer.lr': _Number(False, 0),
    'optim_wrapper.optimizer.weight_decay': _Number(False, 0),
    'model.head.num_classes': _Number(True, 1),
    'model.head.in_channels': _Number(True, 1),
    'model.backbone.img_size': _Number(True, 1, several=True),
    'model.backbone.patch_size': _Number(True, 1, several=True),
    **{f'{split}_dataloader.batch_size': _Number(True, 1) for split in _SPLITS},
    **{f'{split}_dataloader.num_workers': _Number(True, 0) for split in _SPLITS},
}


# Settings that are paths, wherever they are; some may be a dict or None.
_PATHS = (
    *(
        'data_root',
        'data_prefix',
        'ann_file',
        'box_source',
        'class_folder',
        'class_file',
        'list_dir',
        'leave_out',
    ),
    *(
        'metadata_dir',
        'pretrained',
        'load_from',
        'work_dir',
        'thresholds_from',
        'report_file',
        'checkpoint_file',
    ),
    *('show_dir', 'cache'),
)


def check_config(cfg: Config) -> None:
    """Check the settings of a run that are easily mistaken: what is a number, and what is a name.

    Args:
        cfg: Runner config.

    Raises:
        ValueError: If something cannot be, in one line; of a name with the nearest one.
    """
    check_model_settings(cfg)
    for key, numbers in _NUMBERS.items():
        _check_number(cfg, key, numbers)
    for key, value, names in _named_parts(cfg):
        _check_name(key, value, names)
    _check_paths('', cfg)


def _check_paths(prefix: str, settings: Mapping) -> None:
    """Check that no path is a number or a list, as which a name such as 2024 or a,b is read."""
    for name, value in settings.items():
        key = f'{prefix}{name}'
        if isinstance(value, Mapping):
            _check_paths(f'{key}.', value)
        elif name in _PATHS and isinstance(value, int | float | list | tuple):
            raise ValueError(
                f'{key}: expected a path, got {_shown(value)}. Quotes keep a path as it is, as in '
                f'"{key}=\'2024\'"'
            )


def check_model_settings(cfg: Config) -> None:
    """Check what a config says of its model; see :func:`check_config`.

    Args:
        cfg: Runner config.

    Raises:
        ValueError: If something cannot be.
    """
    model = cfg.get('model', _MISSING)
    if not isinstance(model, Mapping):
        raise ValueError(f'model: expected a dict with the type of the model, got {_shown(model)}')
    for key, numbers in _NUMBERS.items():
        if key.startswith('model.'):
            _check_number(cfg, key, numbers)
    _check_name('model', model, registry.MODELS)
    for part in ('backbone', 'neck', 'head'):
        if part in model and model[part] is None and part != 'neck':
            raise ValueError(f'model.{part}: expected a dict with a type, got None')
        if part in model:
            _check_name(f'model.{part}', model[part], registry.MODELS)
    backbone = model.get('backbone') or {}
    sizes, patch = backbone.get('img_size'), backbone.get('patch_size')
    sides = [sizes] if isinstance(sizes, int) else sizes or []
    if isinstance(patch, int) and any(side % patch for side in sides):
        raise ValueError(f'model.backbone.img_size: expected a multiple of patch_size={patch}, got {sizes}')


def _check_number(cfg: Config, key: str, numbers: _Number) -> None:
    value = _setting(cfg, key)
    if value is not _MISSING and value is not None and not numbers.accepts(value):
        raise ValueError(f'{key}: expected {numbers}, got {_shown(value)}')


def _setting(cfg: Mapping, key: str) -> Any:
    """Return the value of a dotted key; ``_MISSING`` if it is not there."""
    value: Any = cfg
    for name in key.split('.'):
        if not hasattr(value, 'get'):
            return _MISSING
        value = value.get(name, _MISSING)
    return value


def _named_parts(cfg: Config) -> Iterator[tuple[str, Any, Registry]]:
    """List the parts of a config that name a class, with their keys and registries."""
    for split in _SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if isinstance(loader, Mapping):
            key = f'{split}_dataloader.dataset'
            yield key, loader.get('dataset', _MISSING), registry.DATASETS
            yield from _listed(f'{key}.pipeline', _setting(loader, 'dataset.pipeline'), registry.TRANSFORMS)
        yield from _listed(f'{split}_evaluator', cfg.get(f'{split}_evaluator'), registry.METRICS)
    optimizer = _setting(cfg, 'optim_wrapper.optimizer')
    if isinstance(optimizer, Mapping):
        yield 'optim_wrapper.optimizer', optimizer, registry.OPTIMIZERS
    hooks = cfg.get('default_hooks')
    for name, hook in (hooks or {}).items():
        yield f'default_hooks.{name}', hook, registry.HOOKS
    yield from _listed('custom_hooks', cfg.get('custom_hooks'), registry.HOOKS)
    yield from _listed('param_scheduler', cfg.get('param_scheduler'), registry.PARAM_SCHEDULERS)


def _listed(key: str, values: Any, names: Registry) -> Iterator[tuple[str, Any, Registry]]:
    if isinstance(values, list | tuple):
        for place, value in enumerate(values):
            yield f'{key}.{place}', value, names
    elif values is not _MISSING:
        yield key, values, names


def _check_name(key: str, value: Any, names: Registry) -> None:
    """Check that a part of the config is a dict whose type is registered; what is built already passes."""
    if value is not _MISSING and not isinstance(value, Mapping | str | int | float):
        return
    if not isinstance(value, Mapping):
        raise ValueError(f'{key}: expected a dict with a type, got {_shown(value)}')
    name = value.get('type', _MISSING)
    if name is _MISSING and names is not registry.METRICS:
        raise ValueError(f'{key}: expected a dict with a type, got one with {sorted(value) or "nothing"}')
    if isinstance(name, str) and names.get(name) is None:
        near = difflib.get_close_matches(name, _all_names(names), n=1)
        meant = f'; did you mean {near[0]!r}?' if near else ''
        raise ValueError(f'{key}.type: expected a name that is registered, got {name!r}{meant}')


def _all_names(names: Registry | None) -> list[str]:
    found: list[str] = []
    while names is not None:
        found += names.module_dict
        names = names.parent
    return found


def _shown(value: Any) -> str:
    text = 'none' if value is _MISSING else repr(value)
    return text if len(text) < 80 else f'{text[:77]}...'
