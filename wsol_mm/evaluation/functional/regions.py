"""Boxes of the regions above every threshold, all thresholds at once.

Exact: the boxes equal those of thresholding the map once per threshold and calling OpenCV. The cost hardly depends
on the number of thresholds. The kernels are compiled by numba at the first call of a machine, which takes some
seconds, and are kept on disk; importing this module costs nothing.

Terms. *Levels* come from :func:`~wsol_mm.evaluation.functional.thresholding.level_image`; the foreground of level
j is ``levels > j``. A box is x0, y0, x1, y1 with exclusive upper ends, as OpenCV's x, y, x + w, y + h.
"""

from typing import NamedTuple

import numpy as np

CRITERIA = ('polygon', 'pixels')

# The kernels pack a pixel number into 31 bits and coordinates into 24.
_MAX_PIXELS = 2**28
_MAX_SIDE = 2**22


class Regions(NamedTuple):
    """Borders of connected regions, each over a range of levels on which it does not change.

    Attributes:
        boxes: (M, 4) int32, x0, y0, x1, y1 with exclusive upper ends.
        first_level: (M,) int32, first level of the range.
        last_level: (M,) int32, last level of the range, inclusive.
    """

    boxes: np.ndarray
    first_level: np.ndarray
    last_level: np.ndarray


def largest_regions(levels: np.ndarray, num_levels: int, criterion: str = 'polygon') -> np.ndarray:
    """Box of the largest 8-connected region above each level.

    Args:
        levels: (H, W) uint16, at most ``num_levels``.
        num_levels: Number of levels, L.
        criterion: What is large. ``'polygon'``: the area of the polygon through the pixel centres of the outer
            border, ``cv2.contourArea``; among equal ones that whose first pixel comes last in raster order,
            which OpenCV lists first (TS-CAM, wsolevaluation and others). ``'pixels'``: the number of pixels;
            among equal ones that whose first pixel comes first in raster order (SAT, BAS).

    Returns:
        (L, 4) int32, x0, y0, x1, y1 with exclusive upper ends; -1, -1, -1, -1 where nothing is above the level.

    Raises:
        TypeError: The levels are not an array of uint16.
        ValueError: The levels are not two-dimensional, are empty or too large, or exceed ``num_levels``;
            unknown criterion.
    """
    if criterion not in CRITERIA:
        raise ValueError(f'criterion is {criterion!r}; expected one of {", ".join(map(repr, CRITERIA))}')
    image, stride = _bordered(levels, num_levels)
    from . import region_kernels as kernels  # compiled code: only for who asks for regions

    pixels, starts, num_peaks = kernels.sort_pixels(image, stride, num_levels)
    nodes, _ = kernels.component_nodes(pixels, starts, num_peaks, image.size, stride)
    if criterion == 'polygon':
        return kernels.polygon_boxes(nodes, image, stride, num_levels)
    return kernels.pixel_boxes(nodes, num_levels)


def all_regions(levels: np.ndarray, num_levels: int, holes: bool = True) -> Regions:
    """Boxes of all regions above each level, as ``cv2.findContours`` lists them.

    Args:
        levels: (H, W) uint16, at most ``num_levels``.
        num_levels: Number of levels, L.
        holes: With the borders of holes (modes RETR_TREE, RETR_LIST, RETR_CCOMP); they run on the pixels around
            the hole, so that their box is the hole's grown by one on all sides. Without: outer borders alone.

    Returns:
        The boxes and their ranges of levels: the multiset of the boxes at level j is that of all rows with
        ``first_level <= j <= last_level``. No row for a level without foreground.

    Raises:
        TypeError: The levels are not an array of uint16.
        ValueError: The levels are not two-dimensional, are empty or too large, or exceed ``num_levels``.
    """
    image, stride = _bordered(levels, num_levels)
    from . import region_kernels as kernels  # compiled code: only for who asks for regions

    pixels, starts, num_peaks = kernels.sort_pixels(image, stride, num_levels)
    nodes, num_holes = kernels.component_nodes(pixels, starts, num_peaks, image.size, stride)
    nodes = nodes[:, : kernels.LAST_LEVEL + 1]
    if holes and num_holes.any():
        nodes = np.concatenate([nodes, kernels.hole_nodes(image, stride, pixels, starts, num_holes)])
    # Copies: views would keep the kernels' work space alive.
    return Regions(
        nodes[:, :4].copy(), nodes[:, kernels.FIRST_LEVEL].copy(), nodes[:, kernels.LAST_LEVEL].copy()
    )


def max_per_level(
    values: np.ndarray, first_level: np.ndarray, last_level: np.ndarray, num_levels: int, empty: float = -1.0
) -> np.ndarray:
    """Largest value at each level, of values that hold over ranges of levels.

    Args:
        values: (M,) real numbers, one per region, such as its IoU.
        first_level: (M,) integers, first level of each range.
        last_level: (M,) integers, last level of each range, inclusive, at least ``first_level``.
        num_levels: Number of levels, L.
        empty: Result for a level in no range.

    Returns:
        (L,) float64.

    Raises:
        ValueError: The arrays are not one-dimensional and of equal length, or a range is not within [0, L).
    """
    values = np.ascontiguousarray(values, np.float64)
    first_level = np.ascontiguousarray(first_level, np.int32)
    last_level = np.ascontiguousarray(last_level, np.int32)
    if values.ndim != 1 or not values.shape == first_level.shape == last_level.shape:
        raise ValueError(
            f'values, first_level and last_level have shapes {values.shape}, {first_level.shape} and '
            f'{last_level.shape}; expected three times (M,)'
        )
    if values.size and (first_level.min() < 0 or last_level.max() >= num_levels):
        raise ValueError(
            f'ranges of levels reach from {first_level.min()} to {last_level.max()}; '
            f'expected them within [0, {num_levels})'
        )
    from . import region_kernels as kernels  # compiled code: only for who asks for regions

    return kernels.max_over_ranges(values, first_level, last_level, num_levels, float(empty))


def _bordered(levels: np.ndarray, num_levels: int) -> tuple[np.ndarray, int]:
    """Flat copy of the levels with a border of one pixel of level 0, and its row length."""
    if not isinstance(levels, np.ndarray) or levels.dtype != np.uint16:
        found = levels.dtype if isinstance(levels, np.ndarray) else type(levels).__name__
        raise TypeError(f'levels are {found}; expected an array of uint16')
    if levels.ndim != 2 or levels.size == 0:
        raise ValueError(f'levels have shape {levels.shape}; expected (H, W) with at least one pixel')
    height, width = levels.shape
    if levels.size > _MAX_PIXELS or max(height, width) > _MAX_SIDE:
        raise ValueError(
            f'levels have shape {levels.shape}; expected at most {_MAX_PIXELS} pixels and sides of {_MAX_SIDE}'
        )
    highest = int(levels.max())
    if not highest <= num_levels or num_levels < 1:
        raise ValueError(f'num_levels is {num_levels}; expected at least 1 and the highest level, {highest}')
    image = np.zeros((height + 2, width + 2), np.uint16)
    image[1:-1, 1:-1] = levels
    return image.reshape(-1), width + 2
