"""Chooses test images for figures: of a config's data, or of a user's files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wsol_mm.registry import DATASETS

import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from .image_listing import images_at
from .inference_pipeline import InferencePipeline, configured_transforms


def spread_indices(total: int, count: int) -> list[int]:
    """Choose ``count`` of the indices 0..total-1 evenly, the ends included; all if there are fewer."""
    return np.unique(np.linspace(0, total - 1, count).round().astype(int)).tolist()


class ImageSelection:
    """Items of a config's test pipeline: of its test data, or of any image files.

    Files have no labels, no boxes and no masks.

    Args:
        cfg: Runner config.
        paths: Image files, and folders of them, instead of the test data.
        count: How many to choose, evenly spaced; all if None.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If a folder holds no image, or the config has no test pipeline.
    """

    def __init__(self, cfg: Config, paths: Sequence[str | Path] = (), count: int | None = None) -> None:
        #: Class names of the test data; None for files.
        self.classes: Sequence[str] | None = None
        self._pipeline: InferencePipeline | None = None
        self._items: Sequence[Any]
        if paths:
            self._items = [file for path in paths for file, _ in images_at(path)]
            self._pipeline = InferencePipeline(configured_transforms(cfg))
        else:
            self._items = dataset = DATASETS.build(cfg.test_dataloader.dataset)
            self.classes = dataset.metainfo.get('classes')
        total = len(self._items)
        self.indices = spread_indices(total, total if count is None else count)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> dict[str, Any]:
        item = self._items[self.indices[position]]
        return item if self._pipeline is None else self._pipeline(item)

    def batches(self, batch_size: int) -> Iterator[dict]:
        """Yield the items in batches, as ``test_step`` takes them."""
        for start in range(0, len(self), batch_size):
            yield pseudo_collate([self[i] for i in range(start, min(start + batch_size, len(self)))])
