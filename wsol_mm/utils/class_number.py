"""The number of classes, where a config leaves it to the data or the checkpoint."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

_SPLITS = ('train', 'val', 'test')


def leaves_classes_open(cfg: Config) -> bool:
    """Tell whether the head's number of classes is the one that stands there until the data are known.

    A config says so by ``default_num_classes``, the number that its head has meanwhile. Whoever sets another
    one has chosen it.

    Args:
        cfg: Runner config.

    Returns:
        Whether data or checkpoint are to say it.
    """
    head = cfg.get('model', {}).get('head')
    default = cfg.get('default_num_classes')
    return default is not None and isinstance(head, Mapping) and head.get('num_classes') == default


def set_classes(cfg: Config, count: int, source: object) -> None:
    """Set the number of classes of the head, and say where it comes from.

    Args:
        cfg: Runner config; changed in place.
        count: Classes.
        source: What has as many.
    """
    cfg.model.head.num_classes = count
    cfg.default_num_classes = None
    print_log(f'model.head.num_classes: {count}, as {source} has', 'current')


def use_classes_of_data(cfg: Config) -> None:
    """Set the number of classes to that of the data, if the config leaves it open.

    Args:
        cfg: Runner config; changed in place.

    Raises:
        DatasetError: If there are no folders of classes.
        FileNotFoundError: If there is no such data.
    """
    if not leaves_classes_open(cfg):
        return
    from wsol_mm.datasets import FolderDataset
    from wsol_mm.registry import DATASETS

    for split in _SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        settings: Any = loader and loader.get('dataset')
        if settings and str(settings.get('type')).rpartition('.')[2] == FolderDataset.__name__:
            dataset = DATASETS.build({**settings, 'pipeline': [], 'lazy_init': True})
            set_classes(cfg, len(dataset.find_classes()), dataset.source)
            return
