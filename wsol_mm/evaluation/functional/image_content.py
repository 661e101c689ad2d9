"""Whether an image can show an object at all, judged by its pixels alone."""

import cv2
import numpy as np
from numpy.typing import NDArray

# An image is looked at as so many cells a side. White noise of 224 pixels keeps 7 % of its contrast there,
# one of 100 pixels, enlarged, 20 %; 4,640 photographs of CUB and ILSVRC at least 37 %, and 3.5 levels.
_CELLS = 14
_LEAST_SHARE = 0.25
_LEAST_LEVELS = 1.0


def shows_nothing(image: NDArray[np.number]) -> bool:
    """Say whether an image is of one colour, or noise: whether nothing of it is left from afar.

    Args:
        image: Image (H, W, 3) with levels 0 to 255.

    Returns:
        True if the means of 14 x 14 cells differ by less than a level (standard deviation, of the colour in
        which they differ most), or by less than a quarter of what the pixels do.
    """
    pixels = image.astype(np.float32)
    cells = cv2.resize(pixels, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    of_cells, of_pixels = (float(values.std(axis=(0, 1)).max()) for values in (cells, pixels))
    return of_cells < max(_LEAST_LEVELS, _LEAST_SHARE * of_pixels)
