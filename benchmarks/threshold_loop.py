"""The straightforward loop over thresholds, which the fast region finder must equal and is measured against.

One mask and one call of OpenCV per threshold, as the published evaluators do it.
"""

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np


def threshold_masks(codes: np.ndarray, thresholds: np.ndarray) -> Iterator[np.ndarray]:
    """Yield ``codes > int(tau * max(codes))`` of a (H, W) uint8 image as uint8, for every tau."""
    maximum = int(codes.max())
    for threshold in thresholds:
        yield (codes > int(threshold * maximum)).astype(np.uint8)


def level_masks(levels: np.ndarray, num_levels: int) -> Iterator[np.ndarray]:
    """Yield ``levels > j`` as uint8 for every level j."""
    for level in range(num_levels):
        yield (levels > level).astype(np.uint8)


def find_contours(mask: np.ndarray, mode: int = cv2.RETR_TREE) -> Sequence[np.ndarray]:
    """Contours of a mask, in OpenCV's order."""
    return cv2.findContours(mask, mode, cv2.CHAIN_APPROX_SIMPLE)[-2]


def box_of(contour: np.ndarray) -> tuple[int, int, int, int]:
    """Bounding rectangle of a contour with exclusive upper ends."""
    x, y, w, h = cv2.boundingRect(contour)
    return x, y, x + w, y + h


def largest_contour_boxes(masks: Iterable[np.ndarray]) -> np.ndarray:
    """(L, 4) box of the contour with the largest area of each mask, the first on ties; -1 without any."""
    boxes = []
    for mask in masks:
        contours = find_contours(mask)
        boxes.append(box_of(max(contours, key=cv2.contourArea)) if contours else (-1, -1, -1, -1))
    return np.array(boxes, np.int32).reshape(-1, 4)


def all_contour_boxes(
    masks: Iterable[np.ndarray], mode: int = cv2.RETR_TREE
) -> list[list[tuple[int, int, int, int]]]:
    """Boxes of all contours of each mask."""
    return [[box_of(contour) for contour in find_contours(mask, mode)] for mask in masks]


def largest_component_boxes(masks: Iterable[np.ndarray]) -> np.ndarray:
    """(L, 4) box of the 8-connected component with the most pixels, the first met on ties; -1 without any."""
    boxes = []
    for mask in masks:
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        if count == 1:
            boxes.append((-1, -1, -1, -1))
            continue
        # OpenCV's numbering is not promised to follow raster order.
        areas = stats[1:, cv2.CC_STAT_AREA]
        largest = 1 + np.flatnonzero(areas == areas.max())
        flat = labels.ravel()
        chosen = min(largest, key=lambda label: int(np.argmax(flat == label)))
        x, y, w, h, _ = stats[chosen]
        boxes.append((x, y, x + w, y + h))
    return np.array(boxes, np.int32).reshape(-1, 4)


def component_boxes(masks: Iterable[np.ndarray]) -> list[list[tuple[int, int, int, int]]]:
    """Boxes of all 8-connected components of each mask."""
    return [
        [(x, y, x + w, y + h) for x, y, w, h, _ in cv2.connectedComponentsWithStats(mask)[2][1:].tolist()]
        for mask in masks
    ]
