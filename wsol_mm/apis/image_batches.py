"""Loads the images of a list in worker processes, in order, without having the list in memory."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from wsol_mm.datasets.dataset_problems import UnreadableImage

import cv2
import torch
from mmengine.dataset import default_collate
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from .image_listing import ListedImage
from .image_sources import image_name
from .inference_pipeline import InferencePipeline
from .prediction_journal import read_images


class ImageBatch(NamedTuple):
    """Images that are predicted together.

    Attributes:
        images: All of them.
        errors: Why one cannot be used, by its place in ``images``.
        data: The others, collated; None if there are none.
    """

    images: list[ListedImage]
    errors: dict[int, str]
    data: dict[str, Any] | None


class ImageBatches(IterableDataset):
    """The batches of a list of images, from a place on.

    Every worker reads the list and takes each W-th batch. The loader asks the W workers in turn, so that
    batches come in the order of the list.

    Args:
        list_file: List of a :class:`PredictionJournal`.
        start: How many images to leave out.
        root: Folder of the images, or its address.
        pipeline: What loads them.
        batch_size: Images in a batch.
        folder_labels: Class of the images in a folder, by the first part of their paths; None to predict it.
    """

    def __init__(
        self,
        list_file: Path,
        start: int,
        root: str,
        pipeline: InferencePipeline,
        batch_size: int,
        folder_labels: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.list_file = list_file
        self.start = start
        self.root = root
        self.pipeline = pipeline
        self.batch_size = batch_size
        self.folder_labels = folder_labels

    def __iter__(self) -> Iterator[ImageBatch]:
        worker = get_worker_info()
        own, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        images = read_images(self.list_file, self.start)
        number = 0
        while batch := list(islice(images, self.batch_size)):
            if number % count == own:
                yield self._load(batch)
            number += 1

    def _load(self, images: list[ListedImage]) -> ImageBatch:
        errors, items = {}, []
        for place, image in enumerate(images):
            label = None if self.folder_labels is None else self.folder_labels[image.path.split('/')[0]]
            try:
                items.append(self.pipeline(image_name(self.root, image), label))
            except UnreadableImage as error:
                errors[place] = error.reason
        return ImageBatch(images, errors, default_collate(items) if items else None)


def load_batches(batches: ImageBatches, num_workers: int) -> Iterator[ImageBatch]:
    """Load batches in worker processes.

    Args:
        batches: The batches.
        num_workers: Number of processes; 0 to load in this one.

    Returns:
        The batches, in order.
    """
    return iter(
        DataLoader(
            batches,
            batch_size=None,
            num_workers=num_workers,
            collate_fn=_unchanged,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_one_thread,
        )
    )


def _unchanged(batch: ImageBatch) -> ImageBatch:
    return batch


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)
