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
    'intercept': -4.761,
    'class_score': 0.134,
    'stability': 1.309,
    'mass': 2.883,
    'dominance': 3.085,
    'cut': -3.1,
}
#: Names of the evidence.
EVIDENCE = tuple(RULE)[1:]

# The box is looked for again above the threshold, by these shares of it, or of what is left above it where
# that is less; lower levels hardly tell right from wrong. From a threshold of 0.5 on, the highest leaves the
# peak of a map alone, if that: a map whose largest value is less has no box there.
_NEARBY = (0.3, 0.6, 1.0)
_HIGHEST_LEVEL = 1 - 1e-5
# Maps are smooth: more pixels show no more.
_LONGEST_SIDE = 112
_LARGEST_LOGIT = 9.0


def box_evidence(
    score: NDArray[np.floating],
    boxes: NDArray[np.number],
    threshold: float,
    class_score: float,
    connectivity: int = 8,
) -> NDArray[np.float64]:
    """Collect what a score map tells of boxes.

    Args:
        score: Score map (H, W); what is outside [0, 1] counts as 0 or 1.
        boxes: Boxes (N, 4) in its pixels, x0 y0 x1 y1 with exclusive ends.
        threshold: Threshold on the map that they were made with.
        class_score: Soft-max score of the class that the map is of.
        connectivity: Of the regions, 8 or 4.

    Returns:
        Evidence (N, E), in the order of :data:`EVIDENCE`:

        - ``class_score``: log-odds of the class score, within -9 and 9;
        - ``stability``: mean IoU with the best box of a region at 1.3, 1.6 and 2 times the threshold; of one
          above 0.5, at 0.3, 0.6 and all of the way from it to 1;
        - ``mass``: share of the sum of the map that is in the box;
        - ``dominance``: share of the pixels above the threshold that are in the box;
        - ``cut``: share of the four sides that lie on the border of the map.
    """
    scale = min(1.0, _LONGEST_SIDE / max(score.shape))
    height, width = (max(1, round(side * scale)) for side in score.shape)
    levels = cv2.resize(score.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    levels = np.clip(levels, 0, 1)
    ends = np.array([width, height, width, height])
    boxes = np.asarray(boxes, np.float64) * ends / np.tile(score.shape[::-1], 2)

    def again(nearby: float) -> NDArray[np.float64]:
        found, _ = region_boxes(levels > nearby, connectivity)
        return box_iou(boxes, found).max(axis=1, initial=0)

    x0, y0, x1, y1 = np.clip(boxes.round(), 0, ends).astype(int).T

    def share_inside(values: NDArray) -> NDArray[np.float64]:
        table = cv2.integral(values, sdepth=cv2.CV_64F)
        inside = table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
        return inside / max(table[-1, -1], 1e-12)

    logit = np.log(max(class_score, 1e-12)) - np.log(max(1 - class_score, 1e-12))
    columns = (
        np.full(len(boxes), np.clip(logit, -_LARGEST_LOGIT, _LARGEST_LOGIT)),
        np.mean([again(level) for level in nearby_levels(threshold)], axis=0),
        share_inside(levels),
        share_inside((levels > threshold).astype(np.uint8)),
        ((x0 <= 1).astype(float) + (y0 <= 1) + (x1 >= width - 1) + (y1 >= height - 1)) / 4,
    )
    return np.stack(columns, axis=1)


def nearby_levels(threshold: float) -> list[float]:
    """Return the levels at which a box that was made with a threshold in [0, 1) is looked for again."""
    room = min(threshold, 1 - threshold)
    return [min(threshold + share * room, _HIGHEST_LEVEL) for share in _NEARBY]


def box_confidence(evidence: NDArray[np.floating]) -> NDArray[np.float64]:
    """Judge boxes by the rule.

    Args:
        evidence: (N, E), see :func:`box_evidence`.

    Returns:
        Confidences (N,) in [0, 1].
    """
    weights = np.array([RULE[name] for name in EVIDENCE])
    return 1 / (1 + np.exp(-(RULE['intercept'] + evidence @ weights)))
