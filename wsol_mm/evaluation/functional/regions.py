"""Boxes of the regions above every threshold, all thresholds at once.

Exact: the boxes equal those of thresholding the map once per threshold and calling OpenCV. The cost hardly
depends on the number of thresholds. The kernels are compiled by numba at the first call on a machine, which
takes some seconds, and are kept on disk; importing this module costs nothing. With a single level, as a fixed
threshold gives, OpenCV does the work and numba is not needed.

Terms. *Levels* come from :func:`~wsol_mm.evaluation.functional.thresholding.level_image`; the foreground of
level j is ``levels > j``. A box is x0, y0, x1, y1 with exclusive upper ends, as OpenCV's x, y, x + w, y + h.
"""

from typing import NamedTuple

import cv2
import numpy as np

CRITERIA = ('polygon', 'pixels', 'pixels_4')

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
    """Box of the largest region above each level, 8-connected but for ``'pixels_4'``.

    Args:
        levels: (H, W) uint16, at most ``num_levels``.
        num_levels: Number of levels, L.
        criterion: What is large. ``'polygon'``: the area of the polygon through the pixel centres of the
            outer border, ``cv2.contourArea``; among equal ones that whose first pixel comes last in raster
            order, which OpenCV lists first (TS-CAM, wsolevaluation and others). ``'pixels'``: the number of
            pixels; among equal ones that whose first pixel comes first in raster order (SAT, BAS).
            ``'pixels_4'``: the same of 4-connected regions, at a single level (FOUND).

    Returns:
        (L, 4) int32, x0, y0, x1, y1 with exclusive upper ends; -1, -1, -1, -1 where nothing is above the
        level.

    Raises:
        TypeError: The levels are not an array of uint16.
        ValueError: The levels are not two-dimensional, are empty or too large, or exceed ``num_levels``;
            unknown criterion.
    """
    if criterion not in CRITERIA:
        raise ValueError(f'criterion: expected one of {", ".join(map(repr, CRITERIA))}, got {criterion!r}')
    num_levels = int(num_levels)
    _check_levels(levels, num_levels)
    if num_levels == 1:
        if criterion == 'polygon':
            return _largest_polygon(levels)
        return _largest_component(levels, connectivity=4 if criterion == 'pixels_4' else 8)
    if criterion == 'pixels_4':
        raise ValueError(f"num_levels: expected 1, as criterion is 'pixels_4', got {num_levels}")
    image, stride = _bordered(levels)
    # Compiled code, imported only where it is wanted.
    from .largest_region_kernels import pixel_boxes, polygon_boxes
    from .region_kernels import component_nodes, sort_pixels

    pixels, starts, num_peaks = sort_pixels(image, stride, num_levels)
    nodes, _ = component_nodes(pixels, starts, num_peaks, image.size, stride)
    if criterion == 'polygon':
        return polygon_boxes(nodes, image, stride, num_levels)
    return pixel_boxes(nodes, num_levels)


def all_regions(levels: np.ndarray, num_levels: int, holes: bool = True) -> Regions:
    """Boxes of all regions above each level, as ``cv2.findContours`` lists them.

    Args:
        levels: (H, W) uint16, at most ``num_levels``.
        num_levels: Number of levels, L.
        holes: With the borders of holes (modes RETR_TREE, RETR_LIST, RETR_CCOMP); they run on the pixels
            around the hole, so that their box is the hole's grown by one on all sides. Without: outer
            borders alone.

    Returns:
        The boxes and their ranges of levels: the multiset of the boxes at level j is that of all rows with
        ``first_level <= j <= last_level``. No row for a level without foreground.

    Raises:
        TypeError: The levels are not an array of uint16.
        ValueError: The levels are not two-dimensional, are empty or too large, or exceed ``num_levels``.
    """
    num_levels = int(num_levels)
    _check_levels(levels, num_levels)
    if num_levels == 1:
        boxes = _contour_boxes(levels) if holes else _component_stats(levels)[1][1:, :4]
        return Regions(boxes, np.zeros(len(boxes), np.int32), np.zeros(len(boxes), np.int32))
    image, stride = _bordered(levels)
    # Compiled code, imported only where it is wanted.
    from .region_hole_kernels import hole_nodes
    from .region_kernels import FIRST_LEVEL, LAST_LEVEL, component_nodes, sort_pixels

    pixels, starts, num_peaks = sort_pixels(image, stride, num_levels)
    nodes, num_holes = component_nodes(pixels, starts, num_peaks, image.size, stride)
    nodes = nodes[:, : LAST_LEVEL + 1]
    if holes and num_holes.any():
        nodes = np.concatenate([nodes, hole_nodes(image, stride, pixels, starts, num_holes)])
    # Copies: views would keep the kernels' work space alive.
    return Regions(nodes[:, :4].copy(), nodes[:, FIRST_LEVEL].copy(), nodes[:, LAST_LEVEL].copy())


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
    # Copies, which are writable: the kernel would be compiled again for arrays that are not.
    values = np.array(values, np.float64, order='C')
    first_level = np.array(first_level, np.int32, order='C')
    last_level = np.array(last_level, np.int32, order='C')
    if values.ndim != 1 or not values.shape == first_level.shape == last_level.shape:
        raise ValueError(
            f'values, first_level, last_level: expected three times the shape (M,), got {values.shape}, '
            f'{first_level.shape} and {last_level.shape}'
        )
    if values.size and (first_level.min() < 0 or last_level.max() >= num_levels):
        raise ValueError(
            f'first_level, last_level: expected levels within [0, {num_levels}), got {first_level.min()} to '
            f'{last_level.max()}'
        )
    if (first_level > last_level).any():
        n = int(np.argmax(first_level > last_level))
        raise ValueError(
            f'first_level, last_level: expected first_level <= last_level, got {first_level[n]} and '
            f'{last_level[n]} in range {n}'
        )
    from .largest_region_kernels import max_over_ranges  # compiled code, imported only where it is wanted

    return max_over_ranges(values, first_level, last_level, int(num_levels), float(empty))


def _largest_polygon(levels: np.ndarray) -> np.ndarray:
    """(1, 4) box of the contour with the largest area, OpenCV's first on ties; no hole or nested one wins."""
    contours = _contours(levels, cv2.RETR_EXTERNAL)
    if not contours:
        return np.full((1, 4), -1, np.int32)
    return _rectangles([max(contours, key=cv2.contourArea)])


def _largest_component(levels: np.ndarray, connectivity: int) -> np.ndarray:
    """(1, 4) box of the component with the most pixels, the first in raster order on ties."""
    labels, stats = _component_stats(levels, connectivity)
    counts = stats[1:, 4]
    largest = 1 + np.flatnonzero(counts == counts.max(initial=0))
    if not len(largest):
        return np.full((1, 4), -1, np.int32)
    if len(largest) > 1:
        # OpenCV promises no order of the labels.
        first = np.isin(labels, largest).argmax()
        largest = labels.reshape(-1)[first : first + 1]
    return stats[largest, :4]


def _contour_boxes(levels: np.ndarray) -> np.ndarray:
    """(M, 4) boxes of all contours, of holes as well."""
    return _rectangles(_contours(levels, cv2.RETR_LIST))


def _contours(levels: np.ndarray, mode: int) -> tuple[np.ndarray, ...]:
    # The contours come second from the end in all versions of OpenCV.
    return tuple(cv2.findContours((levels > 0).view(np.uint8), mode, cv2.CHAIN_APPROX_SIMPLE)[-2])


def _rectangles(contours: list[np.ndarray] | tuple[np.ndarray, ...]) -> np.ndarray:
    boxes = np.array([cv2.boundingRect(contour) for contour in contours], np.int32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _component_stats(levels: np.ndarray, connectivity: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Labels (H, W) of the connected components, and x0, y0, x1, y1 and number of pixels of each label."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        (levels > 0).view(np.uint8), connectivity=connectivity
    )
    stats[:, 2:4] += stats[:, :2]
    return labels, stats


def _check_levels(levels: np.ndarray, num_levels: int) -> None:
    """Raise where the kernels would read or write outside their arrays."""
    if not isinstance(levels, np.ndarray) or levels.dtype != np.uint16:
        found = levels.dtype if isinstance(levels, np.ndarray) else type(levels).__name__
        raise TypeError(f'levels: expected an array of uint16, got {found}')
    if levels.ndim != 2 or levels.size == 0:
        raise ValueError(f'levels: expected the shape (H, W) with at least one pixel, got {levels.shape}')
    height, width = levels.shape
    if levels.size > _MAX_PIXELS or max(height, width) > _MAX_SIDE:
        raise ValueError(
            f'levels: expected at most {_MAX_PIXELS} pixels and sides of at most {_MAX_SIDE}, got the shape '
            f'{levels.shape}'
        )
    highest = int(levels.max())
    if not highest <= num_levels or num_levels < 1:
        raise ValueError(
            f'num_levels: expected at least 1 and the highest level, {highest}, got {num_levels}'
        )


def _bordered(levels: np.ndarray) -> tuple[np.ndarray, int]:
    """Flat copy of the levels with a border of one pixel of level 0, and its row length."""
    height, width = levels.shape
    image = np.zeros((height + 2, width + 2), np.uint16)
    image[1:-1, 1:-1] = levels
    return image.reshape(-1), width + 2
