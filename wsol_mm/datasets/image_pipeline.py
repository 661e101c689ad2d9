"""One image through a pipeline of transforms, for data sets and inference alike."""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import LoadImageFromFile

from .checks.image_files import decode_failure
from .dataset_problems import DatasetError, UnreadableImage
from .readers.image_files import DECODE_ERRORS, error_text

#: What a pipeline may raise because of a damaged image. That it *was* the image is then verified.
_PIPELINE_ERRORS = (*DECODE_ERRORS, AssertionError, AttributeError, TypeError, cv2.error)

Transforms = Sequence[Callable[[dict], Any]]


def has_loader(transforms: Transforms) -> bool:
    """Tell whether one of the transforms loads an image file."""
    return any(isinstance(transform, LoadImageFromFile) for transform in transforms)


def image_fields(image: np.ndarray) -> dict:
    """Return what a loader adds to an item: the image (H, W, 3), BGR, and its shape."""
    return {'img': image, 'img_shape': image.shape[:2], 'ori_shape': image.shape[:2]}


def pipeline_item(info: dict) -> dict:
    """Return an item with its boxes under a name that mmcv's geometric transforms leave alone."""
    return {('ori_gt_bboxes' if name == 'gt_bboxes' else name): value for name, value in info.items()}


def run_transforms(transforms: Transforms, item: dict) -> Any:
    """Send an item through transforms, and tell images that cannot be used from errors of the transforms.

    Args:
        transforms: The transforms.
        item: With ``img_path``; or with an image of its own (:func:`image_fields`), which passes by the
            loaders.

    Returns:
        What the last transform returns; None as soon as one returns None.

    Raises:
        UnreadableImage: If the file is missing or does not decode, or a transform finds that it does not fit.
    """
    is_loaded = 'img' in item
    data = dict(item)
    try:
        for transform in transforms:
            if not (is_loaded and isinstance(transform, LoadImageFromFile)):
                data = transform(data)
            if data is None:
                break
        return data
    except UnreadableImage:
        raise
    except Exception as error:
        by_loader = isinstance(transform, LoadImageFromFile)
        if is_loaded or not (by_loader or isinstance(error, _PIPELINE_ERRORS)):
            raise
        path = item['img_path']
        reason = str(error) if isinstance(error, DatasetError) else decode_failure(path)
        if reason is None and by_loader:  # a loader that stumbles where ours does not
            reason = error_text(error)
        if reason is None:  # the image is fine: an error of the pipeline
            raise
        raise UnreadableImage(path, reason) from error
