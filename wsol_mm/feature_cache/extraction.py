"""Filling a cache: images of all views through the backbone, shard by shard, on any number of processes."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from wsol_mm.datasets.image_pipeline import pipeline_item, run_transforms
from wsol_mm.registry import DATASETS, MODELS, TRANSFORMS
from wsol_mm.structures import Features
from wsol_mm.utils.random_state import seeded
from wsol_mm.utils.whole_files import remove_leftovers

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.dist import barrier, get_rank, get_world_size, is_main_process
from mmengine.logging import print_log
from mmpretrain.utils import track
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from .cache import FeatureCache
from .cache_key import CacheKey, cache_key, cached_needs
from .settings import view_pipelines

#: Meta fields of a sample that its data set knows by itself.
_OF_THE_DATASET = ('sample_idx', 'img_path', 'img_id')


class ViewItems(Dataset):
    """Images of a data set under several views; what is random in a view is fixed for every image.

    Args:
        dataset: A :class:`LocalizationDataset`.
        views: Built transforms of every view.
    """

    def __init__(self, dataset: Any, views: Sequence[Sequence[Any]]) -> None:
        self.dataset = dataset
        self.views = views

    def __getitem__(self, item: tuple[int, int]) -> dict:
        view, index = item
        info = pipeline_item(self.dataset.get_data_info(index))
        with seeded(view, info['img_id']):
            return run_transforms(self.views[view], info)


def cached_fields(feats: Features, needs: Collection[str]) -> dict[str, Tensor]:
    """Return what a cache keeps of features, by name, each (B, ...).

    Args:
        feats: With what ``needs`` names.
        needs: Names. Of the class attention only the patches' part is kept.
    """
    fields = {}
    for name in sorted(needs):
        value = feats.require(name)
        fields[name] = feats.on_grid(value) if name == 'class_attention' else value
    return fields


def as_records(fields: Mapping[str, Tensor], record: np.dtype) -> NDArray:
    """Return features as an array of records (B,).

    Raises:
        ValueError: If a value is too large for the type of the cache.
    """
    arrays = {name: value.float().cpu().numpy() for name, value in fields.items()}
    records = np.empty(len(next(iter(arrays.values()))), record)
    with np.errstate(over='ignore'):
        for name, array in arrays.items():
            records[name] = array
            if not np.isfinite(records[name]).all():
                kind = record[name].base
                raise ValueError(
                    f'dtype: expected a type that holds all values of {name!r}, got {kind}: take float32'
                )
    return records


def extract_features(
    model: nn.Module,
    dataset: Any,
    views: Sequence[Sequence[Any]],
    folder: str | Path,
    view_names: Sequence[str],
    dtype: str = 'float16',
    batch_size: int = 32,
    num_workers: int = 2,
    shard_size: int = 256,
    also: Collection[str] = (),
) -> FeatureCache:
    """Write the features that the head of a localizer needs, for a data set and some views of it.

    To be called in every process of a group; each writes some of the shards. Shards that are there already
    are kept: a killed extraction goes on.

    Args:
        model: A localizer with its weights, on its device.
        dataset: A :class:`LocalizationDataset`.
        views: Built transforms of every view.
        folder: Folder of the cache.
        view_names: Kind of every view, for the key.
        dtype: In which features are stored, ``'float16'`` or ``'float32'``.
        batch_size: Images per batch.
        num_workers: Processes that load images.
        shard_size: Images per shard.
        also: Names of what other heads need that are to read the same cache.

    Returns:
        The cache, whole.

    Raises:
        CacheMismatchError: If the folder holds other features.
        OSError: If the disk is too small.
        ValueError: If a value is too large for ``dtype``, or the backbone does not give all of ``also``.
    """
    items, needs = ViewItems(dataset, views), cached_needs(model.head) | set(also)
    key = cache_key(model, dataset, needs, views, view_names, dtype)
    model.eval()

    def run(batch: dict) -> dict[str, Tensor]:
        with torch.no_grad():
            inputs = model.data_preprocessor(batch)['inputs']
            return cached_fields(model.extract_feat(inputs, needs - {'feature_map'}), needs)

    first = run(default_collate([items[0, 0]]))
    record = np.dtype([(name, np.dtype(dtype), tuple(value.shape[1:])) for name, value in first.items()])
    cache = _create(folder, key, record, shard_size)
    # Of all shards, not of those that are missing: these change while the processes write.
    own = set(cache.shards[get_rank() :: get_world_size()])
    left = [shard for shard in cache.missing() if shard in own]
    batches = [
        (shard, indices[start : start + batch_size])
        for shard in left
        for indices in [cache.images_of(shard[1])]
        for start in range(0, len(indices), batch_size)
    ]
    loader = DataLoader(
        items,
        batch_sampler=[[(view, index) for index in indices] for (view, _), indices in batches],
        num_workers=num_workers,
        collate_fn=default_collate,
        persistent_workers=False,
    )
    records: list[NDArray] = []
    metas: list[dict] = []
    pairs = zip(batches, loader, strict=True)
    for ((view, number), indices), batch in track(pairs, 'Extracting', total=len(batches)):
        records.append(as_records(run(batch), record))
        metas += [_meta_of(sample) for sample in batch['data_samples']]
        if indices[-1] == cache.images_of(number)[-1]:
            cache.write(view, number, np.concatenate(records), metas)
            records, metas = [], []
    barrier()
    return cache


def extraction_model(cfg: Config) -> nn.Module:
    """Return the localizer of a config as a training starts with it, on a GPU if there is one."""
    model = MODELS.build({'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model})
    model.init_weights()
    return model.to('cuda' if torch.cuda.is_available() else 'cpu')


def extract_split(
    cfg: Config, model: nn.Module, split: str, names: Sequence[str], folder: str | Path, **options: Any
) -> FeatureCache:
    """Write the features of a split of a config's data.

    Args:
        cfg: Runner config.
        model: See :func:`extraction_model`.
        split: Of :data:`wsol_mm.feature_cache.settings.SPLITS`.
        names: Of :data:`wsol_mm.feature_cache.settings.VIEWS`, one for each view.
        folder: Folder of the caches of all splits.
        **options: Of :func:`extract_features`, which says what is returned and raised.
    """
    views = [[TRANSFORMS.build(step) for step in view] for view in view_pipelines(cfg, names, split)]
    dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
    return extract_features(model, dataset, views, Path(folder) / split, view_names=names, **options)


def _create(folder: str | Path, key: CacheKey, record: np.dtype, shard_size: int) -> FeatureCache:
    """Make or open the cache in the first process, open it in the others; say how much is to be written."""
    if is_main_process():
        cache = FeatureCache.create(folder, key, record, shard_size)
        remove_leftovers(cache.folder)
        left, free = cache.bytes_left, shutil.disk_usage(folder).free
        print_log(
            f'{folder}: {key.num_images} images x {len(key.views)} views, {len(cache.missing())} of '
            f'{len(cache.shards)} shards to be written: {left / 1e6:.0f} MB of {free / 1e6:.0f} MB free',
            'current',
        )
        if left > free:
            raise OSError(f'{folder}: expected {left / 1e6:.0f} MB of free disk, got {free / 1e6:.0f} MB')
    barrier()
    return FeatureCache.create(folder, key, record, shard_size)


def _meta_of(sample: Any) -> dict:
    return {name: value for name, value in sample.metainfo.items() if name not in _OF_THE_DATASET}
