"""Checks of ground-truth boxes against each other and the image."""

from wsol_mm.datasets.dataset_problems import DatasetProblems

import numpy as np

#: By how many pixels a box may overrun its image before that is an error: annotations are often rounded.
OVERRUN_TOLERANCE = 1.0


def check_boxes(
    boxes: np.ndarray,
    size: tuple[int, int] | None,
    image: str,
    problems: DatasetProblems,
    clip: bool = False,
) -> tuple[np.ndarray, int]:
    """Leave out boxes that cannot be right, and report them.

    Args:
        boxes: (N, 4) float64, x0 y0 x1 y1 in pixels.
        size: Width and height of the image; None if unknown.
        image: The image, for messages.
        problems: Where degenerate boxes and boxes outside the image are reported.
        clip: Cut boxes that overrun at the border of the image, instead of reporting them.

    Returns:
        The good boxes, (M, 4), and how many of them were cut.
    """
    good = []
    cut = 0
    for box in boxes:
        x0, y0, x1, y1 = (float(value) for value in box)
        if x1 <= x0 or y1 <= y0:
            problems.add(
                'degenerate box', f'{image}: expected a box with x0 < x1 and y0 < y1, got {_text(box)}'
            )
            continue
        if size is not None:
            width, height = size
            place = f'{image}, {width}x{height} (width x height)'
            if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
                problems.add(
                    'box outside the image', f'{place}: expected a box that overlaps it, got {_text(box)}'
                )
                continue
            overrun = max(-x0, -y0, x1 - width, y1 - height)
            if clip and overrun > 0:
                box = np.array([max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)], dtype=np.float64)
                cut += 1
            elif overrun > OVERRUN_TOLERANCE:
                problems.add(
                    'box outside the image',
                    f'{place}: expected a box that overruns by at most {OVERRUN_TOLERANCE:g} pixel, got '
                    f'{_text(box)}, which overruns by {overrun:g}. clip_boxes=True cuts it',
                )
                continue
        good.append(box)
    return np.array(good, dtype=np.float64).reshape(-1, 4), cut


def _text(box: np.ndarray) -> str:
    return '[' + ', '.join(f'{value:g}' for value in box) + ']'
