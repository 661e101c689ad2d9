"""Why a top-1 localization counts or fails: TS-CAM's mutually exclusive outcomes."""

import numpy as np
from numpy.typing import NDArray

from .boxes import box_areas, box_intersections, box_iou

OUTCOMES = ('correct', 'classification', 'multi_instance', 'part', 'more', 'other')


def localization_outcome(
    box: NDArray[np.number], gt_boxes: NDArray[np.number], class_is_right: bool, inclusive: bool = True
) -> str:
    """Name the outcome of the top-1 prediction of one image.

    Args:
        box: Predicted box (4,), x0 y0 x1 y1.
        gt_boxes: Ground-truth boxes (G, 4), G >= 1.
        class_is_right: Whether the top-1 class is the label.
        inclusive: Whether the end pixel counts in widths and heights.

    Returns:
        One of :data:`OUTCOMES`: 'classification' (wrong class), 'correct' (IoU > 0.5), 'multi_instance'
        (the box covers more than 0.3 of more than one object), 'part' (more than half of the box lies on
        the best matching object), 'more' (the box covers at least 0.7 of that object), 'other'.
    """
    if not class_is_right:
        return 'classification'
    iou = box_iou(box[None], gt_boxes, inclusive)[0]
    best = int(np.argmax(iou))
    if iou[best] > 0.5:
        return 'correct'
    gt_areas = box_areas(gt_boxes, inclusive)
    overlap = box_intersections(box[None], gt_boxes, inclusive)[0]
    if np.count_nonzero(overlap / gt_areas > 0.3) > 1:
        return 'multi_instance'
    if overlap[best] / box_areas(box, inclusive) > 0.5:
        return 'part'
    if overlap[best] / gt_areas[best] >= 0.7:
        return 'more'
    return 'other'
