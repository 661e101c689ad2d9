"""Whether an image can show an object at all, judged by its pixels alone."""

import cv2
import numpy as np
from numpy.typing import NDArray

# An image is looked at as so many cells a side. White noise of 224 pixels keeps 7 % of its contrast there,
# one of 100 pixels, enlarged, 20 %; 4,640 photographs of CUB and ILSVRC at least 37 %.
_CELLS = 14
_LEAST_SHARE = 0.25
_LEAST_LEVELS = 1.0
# Noise is everywhere; a drawing of thin lines, or a dot on one colour, leaves most cells as they were.
_NOISY_CELLS = 0.9


def shows_nothing(image: NDArray[np.number]) -> bool:
    """Say whether an image is of one colour, or noise: whether nothing of it is left from afar.

    Args:
        image: Image (H, W, 3) with levels 0 to 255.

    Returns:
        True if its pixels differ by less than a level (standard deviation, of the colour in which they differ
        most); or if the means of 14 x 14 cells differ by less than a quarter of what the pixels do, and the
        pixels within nine of ten cells by more.
    """
    of_pixels = cv2.meanStdDev(image)[1].max()
    if of_pixels < _LEAST_LEVELS:
        return True
    least = _LEAST_SHARE * of_pixels
    pixels = image.astype(np.float32)
    cells = _cell_means(pixels)
    if cells.std(axis=(0, 1)).max() >= least:  # a photograph
        return False
    within = np.sqrt(np.maximum(_cell_means(pixels * pixels) - cells**2, 0)).max(axis=2)
    return bool((within > least).mean() >= _NOISY_CELLS)


def _cell_means(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return cv2.resize(pixels, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
