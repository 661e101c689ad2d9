"""How far a box can be trusted, judged by what its localization map shows.

The evidence is a handful of numbers without a unit, so that maps of any method, size and kind are judged
alike. A logistic rule makes one number in [0, 1] of it: how likely the IoU with an object is at least 0.5.
Its coefficients, :data:`RULE`, are data, which ``benchmarks/box_confidence.py`` measures anew.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from .boxes import box_iou
from .regions import region_boxes

#: What the rule multiplies the evidence with, and what it adds.
RULE = {
    'intercept': -6.915,
    'stability': 4.021,
    'mass': 1.953,
    'dominance': 2.879,
    'outline': 2.183,
    'cut': -4.22,
}
#: Names of the evidence.
EVIDENCE = tuple(RULE)[1:]

# The box is looked for again above the threshold, by these shares of it, or of what is left above it where
# that is less; and where only these shares of the pixels above it are left, the strongest: maps that say all
# or nothing are equal at all levels between.
_NEARBY = (0.3, 0.6)
_STRONGEST = (0.5, 0.25)
# Maps are smooth: more pixels show no more.
_LONGEST_SIDE = 112


def box_evidence(
    score: NDArray[np.floating], boxes: NDArray[np.number], threshold: float, connectivity: int = 8
) -> NDArray[np.float64]:
    """Collect what a score map tells of boxes.

    Args:
        score: Score map (H, W); what is outside [0, 1] counts as 0 or 1.
        boxes: Boxes (N, 4) in its pixels, x0 y0 x1 y1 with exclusive ends.
        threshold: Threshold on the map that they were made with.
        connectivity: Of the regions, 8 or 4.

    Returns:
        Evidence (N, E), in the order of :data:`EVIDENCE`, each within [0, 1]:

        - ``stability``: mean IoU with the best box of a region at 1.3 and 1.6 times the threshold (of one
          above 0.5, at 0.3 and 0.6 of the way from it to 1), and of one in the strongest half and the
          strongest quarter of the pixels above it;
        - ``mass``: share of the sum of the map that is in the box;
        - ``dominance``: share of the pixels above the threshold that are in the box;
        - ``outline``: perimeter of the box by the total variation of the map, at most 1. That is the mean
          perimeter of what is above a level, over all levels: one region without dents has that of its box;
        - ``cut``: share of the border of the map that is above the threshold and in the box.
    """
    scale = min(1.0, _LONGEST_SIDE / max(score.shape))
    height, width = (max(1, round(side * scale)) for side in score.shape)
    levels = cv2.resize(score.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    levels = np.clip(levels, 0, 1)
    foreground = levels > threshold
    ends = np.array([width, height, width, height])
    boxes = np.asarray(boxes, np.float64) * ends / np.tile(score.shape[::-1], 2)

    def again(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        found, _ = region_boxes(mask, connectivity)
        return box_iou(boxes, found).max(axis=1, initial=0)

    masks = [levels > level for level in nearby_levels(threshold)]
    if foreground.any():
        # Equal pixels are all among the strongest, or none of them is.
        weakest = np.quantile(levels[foreground], [1 - share for share in _STRONGEST], method='higher')
        masks += [levels >= level for level in weakest]

    x0, y0, x1, y1 = np.clip(boxes.round(), 0, ends).astype(int).T

    def inside(values: NDArray) -> NDArray[np.float64]:
        table = cv2.integral(values, sdepth=cv2.CV_64F)
        return table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]

    border = np.ones_like(foreground)
    border[1:-1, 1:-1] = False
    surrounded = np.pad(levels, 1)
    variation = sum(float(np.abs(np.diff(surrounded, axis=axis)).sum()) for axis in (0, 1))
    columns = (
        np.mean([again(mask) for mask in masks], axis=0),
        inside(levels) / max(float(levels.sum()), 1e-12),
        inside(foreground.astype(np.uint8)) / max(int(foreground.sum()), 1),
        np.minimum(2 * (x1 - x0 + y1 - y0) / max(variation, 1e-12), 1),
        inside((foreground & border).astype(np.uint8)) / border.sum(),
    )
    return np.stack(columns, axis=1)


def nearby_levels(threshold: float) -> list[float]:
    """Return the levels at which a box that was made with a threshold in [0, 1) is looked for again."""
    room = min(threshold, 1 - threshold)
    return [threshold + share * room for share in _NEARBY]


def box_confidence(evidence: NDArray[np.floating]) -> NDArray[np.float64]:
    """Judge boxes by the rule.

    Args:
        evidence: (N, E), see :func:`box_evidence`.

    Returns:
        Confidences (N,) in [0, 1].
    """
    weights = np.array([RULE[name] for name in EVIDENCE])
    return 1 / (1 + np.exp(-(RULE['intercept'] + evidence @ weights)))
