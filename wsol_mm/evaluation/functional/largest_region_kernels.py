"""Compiled kernels of the region finder: the largest region, or value, at every level."""

import numba
import numpy as np

from .neighbour_tables import RING_X, RING_Y
from .region_kernels import AREA2, COUNT, EULER, FIRST_LEVEL, FIRST_PIXEL, LAST_LEVEL, X0, X1, Y0, Y1

# A key holds a size in its high bits and the first pixel, which decides ties, in its low ones.
_PIXEL_BITS = 31


@numba.njit(cache=True, nogil=True)
def _outer_border_area2(image, offsets, start, level):
    """Twice the area of the polygon through the pixel centres of the outer border.

    Follows the border as OpenCV does (S. Suzuki, K. Abe, *Topological structural analysis of digitized binary
    images by border following*, 1985, algorithm 1), of the component of ``image > level`` whose first pixel
    in raster order is ``start``; ``offsets`` are the flat offsets of the ring.
    """
    # The first pixel has neighbours only after it in raster order: clockwise from west, east comes first.
    back = -1
    for k in (0, 7, 6, 5):
        if image[start + offsets[k]] > level:
            back = k
            break
    if back < 0:
        return 0
    last = start + offsets[back]
    p = start
    x = y = area2 = 0
    while True:
        k = (back + 1) & 7
        while image[p + offsets[k]] <= level:
            k = (k + 1) & 7
        area2 += x * RING_Y[k] - y * RING_X[k]
        x += RING_X[k]
        y += RING_Y[k]
        before = p
        p += offsets[k]
        if p == start and before == last:
            return abs(area2)
        back = (k + 4) & 7


@numba.njit(cache=True, nogil=True)
def _boxes_of(nodes, winner):
    """Boxes of the winning row of ``nodes`` at each level; -1 where there is none (winner -1)."""
    boxes = np.full((winner.size, 4), -1, np.int32)
    for j in range(winner.size):
        if winner[j] >= 0:
            boxes[j] = nodes[winner[j], :4]
    return boxes


@numba.njit(cache=True, nogil=True)
def polygon_boxes(nodes, image, stride, num_levels):
    """Component with the largest polygon at each level; among equal ones that whose first pixel comes last.

    The sum over 2x2 windows is the area of a component without holes and a lower bound with holes, the box an
    upper bound. A border is followed only where the bounds leave more than one component in the contest.

    Args:
        nodes: (n, 10) from :func:`component_nodes`.
        image, stride: As for :func:`~.region_kernels.neighbour_masks`.
        num_levels: Number of levels.

    Returns:
        (num_levels, 4) int32 boxes, -1 where there is no component.
    """
    offsets = RING_Y * stride + RING_X
    lower = np.full(num_levels, -1, np.int64)
    for n in range(nodes.shape[0]):
        for j in range(nodes[n, FIRST_LEVEL], nodes[n, LAST_LEVEL] + 1):
            lower[j] = max(lower[j], nodes[n, AREA2])

    best = np.full(num_levels, -1, np.int64)
    winner = np.full(num_levels, -1, np.int64)
    rivals = np.zeros(num_levels, np.int64)
    upper = np.empty(nodes.shape[0], np.int64)
    for n in range(nodes.shape[0]):
        exact = nodes[n, EULER] == 1
        if exact:
            upper[n] = nodes[n, AREA2]
        else:
            upper[n] = 2 * (nodes[n, X1] - nodes[n, X0] - 1) * (nodes[n, Y1] - nodes[n, Y0] - 1)
        key = upper[n] << _PIXEL_BITS | nodes[n, FIRST_PIXEL]
        for j in range(nodes[n, FIRST_LEVEL], nodes[n, LAST_LEVEL] + 1):
            if upper[n] < lower[j]:
                continue
            if not exact:
                rivals[j] += 1
                if winner[j] < 0:
                    winner[j] = n
            elif key > best[j]:
                best[j] = key
                winner[j] = n

    for n in range(nodes.shape[0]):
        if nodes[n, EULER] == 1:
            continue
        bound = upper[n] << _PIXEL_BITS | nodes[n, FIRST_PIXEL]
        contested = False
        for j in range(nodes[n, FIRST_LEVEL], nodes[n, LAST_LEVEL] + 1):
            alone = rivals[j] == 1 and best[j] < 0
            contested |= upper[n] >= lower[j] and not alone and bound > best[j]
        if not contested:
            continue
        area2 = _outer_border_area2(image, offsets, nodes[n, FIRST_PIXEL], nodes[n, LAST_LEVEL])
        key = area2 << _PIXEL_BITS | nodes[n, FIRST_PIXEL]
        for j in range(nodes[n, FIRST_LEVEL], nodes[n, LAST_LEVEL] + 1):
            if upper[n] >= lower[j] and key > best[j]:
                best[j] = key
                winner[j] = n
    return _boxes_of(nodes, winner)


@numba.njit(cache=True, nogil=True)
def pixel_boxes(nodes, num_levels):
    """Component with the most pixels at each level; among equal ones that whose first pixel comes first.

    Args:
        nodes: (n, 10) from :func:`component_nodes`.
        num_levels: Number of levels.

    Returns:
        (num_levels, 4) int32 boxes, -1 where there is no component.
    """
    best = np.full(num_levels, -1, np.int64)
    winner = np.full(num_levels, -1, np.int64)
    for n in range(nodes.shape[0]):
        key = ((nodes[n, COUNT] + 1) << _PIXEL_BITS) - nodes[n, FIRST_PIXEL]
        for j in range(nodes[n, FIRST_LEVEL], nodes[n, LAST_LEVEL] + 1):
            if key > best[j]:
                best[j] = key
                winner[j] = n
    return _boxes_of(nodes, winner)


@numba.njit(cache=True, nogil=True)
def best_iou(boxes, first_level, last_level, gt_boxes, last_pixel, inclusive, num_levels):
    """Best IoU with the ground truth at each level, of boxes that are there over ranges of levels.

    The arithmetic is that of ``box_iou``, in its order.

    Args:
        boxes: (M, 4) int32; one with a negative x1 is none.
        first_level, last_level: (M,) int32.
        gt_boxes: (G, 4) float64.
        last_pixel: (2,) float64, upper ends x1 and y1 are at most this.
        inclusive: Whether the end pixel counts.
        num_levels: Number of levels.

    Returns:
        (num_levels,) float64, -1 where there is no box; (0,) if a level is not within [0, num_levels).
    """
    more = 1.0 if inclusive else 0.0
    result = np.full(num_levels, -1.0)
    gt_areas = np.empty(len(gt_boxes))
    for g in range(len(gt_boxes)):
        gt_areas[g] = (gt_boxes[g, 2] - gt_boxes[g, 0] + more) * (gt_boxes[g, 3] - gt_boxes[g, 1] + more)
    for n in range(len(boxes)):
        if first_level[n] < 0 or last_level[n] >= num_levels:
            return result[:0]
        if boxes[n, 2] < 0:
            continue
        x0, y0 = np.float64(boxes[n, 0]), np.float64(boxes[n, 1])
        x1, y1 = min(np.float64(boxes[n, 2]), last_pixel[0]), min(np.float64(boxes[n, 3]), last_pixel[1])
        area = (x1 - x0 + more) * (y1 - y0 + more)
        best = 0.0
        for g in range(len(gt_boxes)):
            width = min(x1, gt_boxes[g, 2]) - max(x0, gt_boxes[g, 0]) + more
            height = min(y1, gt_boxes[g, 3]) - max(y0, gt_boxes[g, 1]) + more
            intersection = max(width, 0.0) * max(height, 0.0)
            union = area + gt_areas[g] - intersection
            if union > 0:
                best = max(best, intersection / union)
        for j in range(first_level[n], last_level[n] + 1):
            result[j] = max(result[j], best)
    return result
