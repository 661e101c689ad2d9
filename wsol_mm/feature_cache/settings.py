"""Cached features and the config of a run: which splits and views there are, and how a run reads them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

SPLITS = ('train', 'val', 'test')
#: Views of an image: as in a test but of the size of training crops, the same mirrored, and as in training,
#: with a random crop and flip that is fixed for every image and view.
VIEWS = ('plain', 'flip', 'crop')


def view_pipelines(cfg: Config, names: Sequence[str], split: str = 'train') -> list[list[dict]]:
    """Return the pipelines of views.

    Args:
        cfg: Runner config: the pipelines of its test and training data.
        names: Of :data:`VIEWS`, one for each view; crops of one name differ.
        split: Of :data:`SPLITS`; only views for training have the size of the training crops.

    Raises:
        ValueError: If there is no view of this name.
    """
    test = [dict(step) for step in cfg.test_dataloader.dataset.pipeline]
    if split == 'train':
        training = cfg.train_dataloader.dataset.pipeline
        size: Any = next((step['crop_size'] for step in training if 'crop_size' in step), None)
        for step in test if size is not None else ():
            if 'scale' in step:
                step['scale'] = (size, size) if isinstance(size, int) else tuple(size)[::-1]
    pipelines = {
        'plain': test,
        'flip': [*test[:-1], dict(type='RandomFlip', prob=1.0, direction='horizontal'), test[-1]],
        'crop': [dict(step) for step in cfg.train_dataloader.dataset.pipeline],
    }
    unknown = [name for name in names if name not in pipelines]
    if unknown or not names:
        raise ValueError(f'views: expected names of {VIEWS}, got {list(names)}')
    return [pipelines[name] for name in names]


def splits_to_cache(cfg: Config) -> list[str]:
    """Return the splits whose data differ: one of validation and test, if they are the same images."""
    same = cfg.get('val_dataloader') and cfg.val_dataloader.dataset == cfg.test_dataloader.dataset
    return [split for split in SPLITS if cfg.get(f'{split}_dataloader') and not (split == 'val' and same)]


def use_cached_features(cfg: Config, folder: str | Path, num_views: int | None = None) -> None:
    """Let a run read cached features where the folder has them, in place of images.

    Args:
        cfg: Runner config; changed in place.
        folder: As ``tools/misc/extract_features.py`` made it.
        num_views: How many views of the training images are used, the first ones; all if None.

    Raises:
        FileNotFoundError: If the folder has features of no split.
    """
    from .cache import FeatureCache  # imports PyTorch, which a tool's --help does not need

    folder = Path(folder)
    found = [split for split in splits_to_cache(cfg) if (folder / split / 'key.json').is_file()]
    if not found:
        raise FileNotFoundError(
            f'{folder}: expected cached features of {splits_to_cache(cfg)}, got none; '
            'tools/misc/extract_features.py makes them'
        )
    datasets = {}
    for split in found:
        dataset = cfg[f'{split}_dataloader'].dataset
        names = FeatureCache.open(folder / split).key.view_names
        datasets[split] = dict(
            type='CachedFeatures',
            cache=str(folder / split),
            dataset=dataset,
            view_pipelines=view_pipelines(cfg, names, split),
        )
    if num_views is not None and 'train' in datasets:
        datasets['train']['views'] = list(range(num_views))
    if 'test' in datasets and 'val' not in splits_to_cache(cfg) and cfg.get('val_dataloader'):
        datasets['val'] = datasets['test']
    for split, dataset in datasets.items():
        cfg[f'{split}_dataloader'].dataset = dataset
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='FeatureCacheHook')]
