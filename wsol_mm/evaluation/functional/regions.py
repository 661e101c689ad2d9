"""Boxes of the regions above every threshold, all thresholds at once.

Exact: the boxes equal those of thresholding the map once per threshold and calling OpenCV. The cost hardly
depends on the number of thresholds. The kernels are compiled by numba at the first call on a machine, which
takes some seconds, and are kept on disk; importing this module costs nothing. With a single level, as a fixed
threshold gives, OpenCV does the work and numba is not needed.

Terms. *Levels* come from :func:`~wsol_mm.evaluation.functional.thresholding.level_image`; the foreground of
level j is ``levels > j``. A box is x0, y0, x1, y1 with exclusive upper ends, as OpenCV's x, y, x + w, y + h.
"""

from functools import cached_property
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


class RegionFinder:
    """Regions of one level image, whose sorted pixels and components are made once, at the first question.

    Args:
        levels: (H, W) uint16, at most ``num_levels``; or, with a table, uint8 codes.
        num_levels: Number of levels, L.
        table: (256,) uint16, not descending, from 0: the level of every code. Codes are an order of the
            pixels of one level, with which there is less to do.

    Raises:
        TypeError: The levels are not an array of uint16, or the codes of uint8.
        ValueError: The levels are not two-dimensional, are empty or too large, or exceed ``num_levels``;
            or the table does not begin with 0.
    """

    def __init__(self, levels: np.ndarray, num_levels: int, table: np.ndarray | None = None) -> None:
        self.num_levels = int(num_levels)
        self._given, self._table = levels, table
        _check_levels(levels, self.num_levels, table)

    @cached_property
    def levels(self) -> np.ndarray:
        """The levels (H, W) uint16."""
        return self._given if self._table is None else cv2.LUT(self._given, self._table)

    def largest(self, criterion: str = 'polygon') -> np.ndarray:
        """Box of the largest region above each level, 8-connected but for ``'pixels_4'``.

        Args:
            criterion: What is large. ``'polygon'``: the area of the polygon through the pixel centres of the
                outer border, ``cv2.contourArea``; among equal ones that whose first pixel comes last in
                raster order, which OpenCV lists first (TS-CAM, wsolevaluation and others). ``'pixels'``: the
                number of pixels; among equal ones that whose first pixel comes first in raster order (SAT,
                BAS). ``'pixels_4'``: the same of 4-connected regions, at a single level (FOUND).

        Returns:
            (L, 4) int32, x0, y0, x1, y1 with exclusive upper ends; -1, -1, -1, -1 where nothing is above the
            level.

        Raises:
            ValueError: Unknown criterion, or ``'pixels_4'`` at several levels.
        """
        if criterion not in CRITERIA:
            raise ValueError(
                f'criterion: expected one of {", ".join(map(repr, CRITERIA))}, got {criterion!r}'
            )
        if self.num_levels == 1:
            if criterion == 'polygon':
                return _largest_polygon(self.levels)
            return _largest_component(self.levels, connectivity=4 if criterion == 'pixels_4' else 8)
        if criterion == 'pixels_4':
            raise ValueError(f"num_levels: expected 1, as criterion is 'pixels_4', got {self.num_levels}")
        # Compiled code, imported only where it is wanted.
        from .largest_region_kernels import pixel_boxes, polygon_boxes

        nodes, _ = self._components
        if criterion == 'polygon':
            image, _, stride = self._masked
            return polygon_boxes(nodes, image, stride, self.num_levels)
        return pixel_boxes(nodes, self.num_levels)

    def all(self, holes: bool = True) -> Regions:
        """Boxes of all regions above each level, as ``cv2.findContours`` lists them.

        Args:
            holes: With the borders of holes (modes RETR_TREE, RETR_LIST, RETR_CCOMP); they run on the pixels
                around the hole, so that their box is the hole's grown by one on all sides. Without: outer
                borders alone.

        Returns:
            The boxes and their ranges of levels: the multiset of the boxes at level j is that of all rows
            with ``first_level <= j <= last_level``. No row for a level without foreground.
        """
        if self.num_levels == 1:
            boxes = _contour_boxes(self.levels) if holes else _component_stats(self.levels)[1][1:, :4]
            return Regions(boxes, np.zeros(len(boxes), np.int32), np.zeros(len(boxes), np.int32))
        # Compiled code, imported only where it is wanted.
        from .region_kernels import FIRST_LEVEL, LAST_LEVEL, hole_nodes

        nodes, hole_levels = self._components
        nodes = nodes[:, : LAST_LEVEL + 1]
        if holes and hole_levels:
            nodes = np.concatenate([nodes, hole_nodes(*self._masked, hole_levels)])
        # Copies: views would keep the kernels' work space alive.
        return Regions(nodes[:, :4].copy(), nodes[:, FIRST_LEVEL].copy(), nodes[:, LAST_LEVEL].copy())

    @cached_property
    def _masked(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Flat copy of the levels with a border of one pixel of level 0, neighbour masks, and row length."""
        from .region_kernels import neighbour_masks

        order = cv2.copyMakeBorder(self._given, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        image = order if self._table is None else cv2.LUT(order, self._table)
        stride = order.shape[1]
        return image.reshape(-1), neighbour_masks(order.reshape(-1), stride), stride

    @cached_property
    def _components(self) -> tuple[np.ndarray, int]:
        from .region_kernels import component_nodes

        return component_nodes(*self._masked, self.num_levels)


def largest_regions(levels: np.ndarray, num_levels: int, criterion: str = 'polygon') -> np.ndarray:
    """:meth:`RegionFinder.largest` of a level image: (L, 4) boxes of the largest region above each level."""
    return RegionFinder(levels, num_levels).largest(criterion)


def all_regions(levels: np.ndarray, num_levels: int, holes: bool = True) -> Regions:
    """:meth:`RegionFinder.all` of a level image: boxes of all regions above each level."""
    return RegionFinder(levels, num_levels).all(holes)


def region_boxes(mask: np.ndarray, connectivity: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of the connected regions of a mask, those of the most pixels first.

    Args:
        mask: (H, W) bool.
        connectivity: 8 or 4.

    Returns:
        Boxes (M, 4) int32, x0, y0, x1, y1 with exclusive upper ends, and their numbers of pixels (M,).
    """
    stats = _component_stats(mask, connectivity)[1][1:]
    stats = stats[np.argsort(-stats[:, 4], kind='stable')]
    return stats[:, :4], stats[:, 4]


def best_iou_per_level(
    regions: Regions,
    gt_boxes: np.ndarray,
    num_levels: int,
    last_pixel: tuple[float, float] = (np.inf, np.inf),
    inclusive: bool = False,
) -> np.ndarray:
    """Best IoU of the regions' boxes with the ground truth at each level.

    Args:
        regions: Boxes and their ranges of levels; a box with a negative x1 is none.
        gt_boxes: Ground-truth boxes (G, 4), x0 y0 x1 y1, G >= 1.
        num_levels: Number of levels, L.
        last_pixel: Largest upper ends x1 and y1 of boxes; larger ones are clipped.
        inclusive: Whether the end pixel counts, see :func:`~wsol_mm.evaluation.functional.box_iou`.

    Returns:
        (L,) float64; -1 at a level without a region.

    Raises:
        ValueError: The ground truth is not (G, 4), or a range of levels is not within [0, L).
    """
    # Copies, which are writable: the kernel would be compiled again for arrays that are not.
    gt_boxes = np.array(gt_boxes, np.float64, order='C')
    if gt_boxes.ndim != 2 or gt_boxes.shape[1] != 4 or not len(gt_boxes):
        raise ValueError(f'gt_boxes: expected the shape (G, 4) with at least one, got {gt_boxes.shape}')
    first, last = regions.first_level, regions.last_level
    from .largest_region_kernels import best_iou  # compiled code, imported only where it is wanted

    best = best_iou(
        np.array(regions.boxes, np.int32, order='C'),
        np.array(first, np.int32, order='C'),
        np.array(last, np.int32, order='C'),
        gt_boxes,
        np.array(last_pixel, np.float64),
        bool(inclusive),
        int(num_levels),
    )
    if not len(best):
        raise ValueError(
            f'regions: expected levels within [0, {num_levels}), got {first.min()} to {last.max()}'
        )
    return best


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


def _check_levels(levels: np.ndarray, num_levels: int, table: np.ndarray | None) -> None:
    """Raise where the kernels would read or write outside their arrays."""
    dtype = np.uint16 if table is None else np.uint8
    if not isinstance(levels, np.ndarray) or levels.dtype != dtype:
        found = levels.dtype if isinstance(levels, np.ndarray) else type(levels).__name__
        raise TypeError(f'levels: expected an array of {dtype.__name__}, got {found}')
    if levels.ndim != 2 or levels.size == 0:
        raise ValueError(f'levels: expected the shape (H, W) with at least one pixel, got {levels.shape}')
    height, width = levels.shape
    if levels.size > _MAX_PIXELS or max(height, width) > _MAX_SIDE:
        raise ValueError(
            f'levels: expected at most {_MAX_PIXELS} pixels and sides of at most {_MAX_SIDE}, got the shape '
            f'{levels.shape}'
        )
    highest = int(levels.max() if table is None else table[-1])
    if not highest <= num_levels or num_levels < 1:
        raise ValueError(
            f'num_levels: expected at least 1 and the highest level, {highest}, got {num_levels}'
        )
    if table is not None and table[0] != 0:
        raise ValueError(f'table: expected level 0 of code 0, which the border has, got {table[0]}')
