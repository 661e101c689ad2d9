"""Reads the image of a data sample again, as its pipeline saw it before any resize."""

from wsol_mm.datasets.readers.image_files import (
    SWAPPING,
    WHITE,
    exif_orientation,
    open_image,
    rgb_image,
    upright,
)

import numpy as np
from mmpretrain.structures import DataSample
from numpy.typing import NDArray


def read_image(data_sample: DataSample) -> NDArray[np.uint8]:
    """Read the image of a sample in its original size.

    The EXIF orientation is applied if the pipeline did: the meta field ``apply_exif`` of
    ``LoadImageWithPillow`` says so. mmcv's ``LoadImageFromFile`` leaves no such field; it applies the
    orientation by default, and is taken not to have done so where only the stored size fits.

    Args:
        data_sample: With the meta fields ``img_path`` and ``ori_shape`` (H, W).

    Returns:
        RGB image (H, W, 3); a black one for a sample with ``load_error``, for which the data set had a black
        image stand in.

    Raises:
        UnreadableImage: If the file is missing or does not decode.
        ValueError: If it is not of the size that the pipeline saw.
    """
    path, shape = data_sample.img_path, tuple(data_sample.ori_shape[:2])
    if data_sample.get('load_error') is not None:
        return np.zeros((*shape, 3), np.uint8)
    with open_image(path) as file:
        apply_exif = data_sample.get('apply_exif')
        if apply_exif is None:
            swapped = exif_orientation(file) in SWAPPING and file.width != file.height
            apply_exif = file.size != shape[::-1] or not swapped
        white, background = data_sample.get('white', WHITE), data_sample.get('background')
        image = np.array(rgb_image(upright(file) if apply_exif else file, white, background))
    if image.shape[:2] != shape:
        raise ValueError(
            f'{path}: expected {shape} (height, width), as the pipeline saw, got {image.shape[:2]}'
        )
    return image
