"""Images as the test pipeline of a config makes them, for figures."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wsol_mm.registry import DATASETS, TRANSFORMS

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate

from .image_listing import images_at


def spread_indices(total: int, count: int) -> list[int]:
    """Choose ``count`` of the indices 0..total-1 evenly, the ends included; all if there are fewer."""
    return np.unique(np.linspace(0, total - 1, count).round().astype(int)).tolist()


def list_images(paths: Sequence[str]) -> list[str]:
    """List image files: files as they are given, of folders all images in them, sorted.

    Args:
        paths (Sequence[str]): Files and folders.

    Returns:
        list[str]: The files.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If a folder holds no image.
    """
    return [file for path in paths for file, _ in images_at(path)]


class TestImages:
    """Items of a config's test pipeline: of its test data, or of any image files.

    Files have no labels and no boxes.

    Args:
        cfg (Config): Runner config.
        files (Sequence[str], optional): Image files instead of the test data.
        count (int, optional): Choose so many evenly; all if None.
    """

    __test__ = False  # not a test class, whatever its name suggests to pytest

    def __init__(self, cfg: Config, files: Sequence[str] | None = None, count: int | None = None) -> None:
        settings = cfg.test_dataloader.dataset
        self.files = files
        if files is None:
            self.dataset = DATASETS.build(settings)
        else:
            self.pipeline = Compose([TRANSFORMS.build(step) for step in settings.pipeline])
        total = len(self.dataset if files is None else files)
        self.indices = spread_indices(total, total if count is None else count)

    @property
    def classes(self) -> Sequence[str] | None:
        """Class names of the test data; None for files."""
        return self.dataset.metainfo.get('classes') if self.files is None else None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> dict[str, Any]:
        index = self.indices[position]
        if self.files is None:
            return self.dataset[index]
        path = self.files[index]
        return self.pipeline({'img_path': path, 'img_id': Path(path).name, 'sample_idx': index})

    def batches(self, batch_size: int) -> Iterator[dict]:
        """Yield the items in batches, as ``test_step`` takes them."""
        for start in range(0, len(self), batch_size):
            yield pseudo_collate([self[i] for i in range(start, min(start + batch_size, len(self)))])
