"""Cached features of a frozen backbone in place of images."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from wsol_mm.feature_cache.cache import CacheMismatchError, FeatureCache
from wsol_mm.feature_cache.cache_key import describe_views, hash_files
from wsol_mm.registry import DATASETS, TRANSFORMS

import numpy as np
import torch
from torch.utils.data import Dataset

from .image_pipeline import pipeline_item
from .transforms import LoadLocalizationMask, LoadPseudoMap, PackLocalizationInputs


@DATASETS.register_module()
class CachedFeatures(Dataset):
    """A data set whose images have passed the backbone already.

    Items are those of the data set, labels, boxes and masks too, with a mapping of feature tensors as
    ``inputs``: float32, without the batch. ``tools/misc/extract_features.py`` makes the cache.

    Args:
        cache: Folder of the cache.
        dataset: Config of the data set.
        views: Views of which each item draws one; all in training, the first in a test if None.
        view_pipelines: Pipelines of all views of the cache, with which those that are used must have been
            made; not compared if None.

    Raises:
        CacheMismatchError: If the cache is of other images or views.
        FileNotFoundError: If there is no cache, or not all of these views.
        ValueError: If it has no such view.
    """

    def __init__(
        self,
        cache: str,
        dataset: dict,
        views: Sequence[int] | None = None,
        view_pipelines: Sequence[Sequence[dict]] | None = None,
    ) -> None:
        self.cache = FeatureCache.open(cache)
        self.dataset = DATASETS.build(dataset)
        key = self.cache.key
        if len(self.dataset) != key.num_images or hash_files(self.dataset) != key.files:
            raise CacheMismatchError(
                f'{cache}: expected features of the {len(self.dataset)} images of {self.dataset.img_prefix}, '
                f'with their names and sizes, got those of {key.num_images} others'
            )
        every = range(len(key.views))
        self.views = list(views if views is not None else every[:1] if self.dataset.test_mode else every)
        if not self.views or not set(self.views) <= set(every):
            raise ValueError(f'views: expected some of {list(every)}, got {self.views}')
        missing = [shard for shard in self.cache.missing() if shard[0] in self.views]
        if missing:
            raise FileNotFoundError(
                f'{cache}: expected all shards of the views {self.views}, got all but {len(missing)}; '
                'tools/misc/extract_features.py goes on with them'
            )
        if view_pipelines is not None:
            wanted = list(key.views)
            for view in self.views:
                (wanted[view],) = describe_views([list(map(TRANSFORMS.build, view_pipelines[view]))])
            self.cache.check(replace(key, views=tuple(wanted)))
        self._names: Sequence[str] = self.cache.record.names or ()
        self._loaders = [
            step
            for step in self.dataset.pipeline.transforms
            if isinstance(step, LoadLocalizationMask | LoadPseudoMap)
        ]
        self._pack = PackLocalizationInputs()

    def read_only(self, names: Collection[str]) -> None:
        """Let the items hold only some of what the cache holds: what the head of a run needs."""
        self._names = sorted(names)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        """Return what the data set of images has: metainfo, pipeline, labels."""
        if name.startswith('__') or name == 'dataset':
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __getitem__(self, index: int) -> dict:
        view = self.views[np.random.randint(len(self.views))]
        record, meta = self.cache.read(view, index)
        info = pipeline_item(self.dataset.get_data_info(index))
        info |= {name: tuple(value) if isinstance(value, list) else value for name, value in meta.items()}
        # Packing wants an image: it tells the size of the network's input alone.
        info['img'] = np.empty((*info['img_shape'], 3), np.uint8)
        for step in self._loaders:
            info = step(info)
        item = self._pack(info)
        item['inputs'] = {name: torch.from_numpy(record[name].astype(np.float32)) for name in self._names}
        return item
