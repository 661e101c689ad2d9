from wsol_mm.datasets.checks.boxes import check_boxes
from wsol_mm.datasets.dataset_problems import DatasetProblems

import numpy as np
import pytest


@pytest.mark.parametrize(
    ('box', 'kind', 'clipped'),
    [
        ([1, 2, 3, 4], None, [1, 2, 3, 4]),
        ([-1, 0, 41, 31], None, [0, 0, 40, 30]),  # overruns by a pixel: rounding
        ([-1.5, 0, 40, 30], 'box outside the image', [0, 0, 40, 30]),
        ([0, 0, 40, 32], 'box outside the image', [0, 0, 40, 30]),
        ([40, 0, 45, 5], 'box outside the image', None),
        ([-5, 0, 0, 5], 'box outside the image', None),
        ([5, 5, 5, 9], 'degenerate box', None),
        ([5, 9, 9, 5], 'degenerate box', None),
    ],
)
def test_check_boxes(box, kind, clipped):
    boxes = np.array([box, [0, 0, 1, 1]], dtype=np.float64)
    problems = DatasetProblems('x')
    good, cut = check_boxes(boxes, (40, 30), 'a.jpg', problems)
    assert problems.counts == ({kind: 1} if kind else {})
    assert cut == 0 and good.tolist() == ([] if kind else [box]) + [[0, 0, 1, 1]]
    problems = DatasetProblems('x')
    good, cut = check_boxes(boxes, (40, 30), 'a.jpg', problems, clip=True)
    assert good.tolist() == ([clipped] if clipped else []) + [[0, 0, 1, 1]]
    assert cut == (clipped is not None and clipped != box)
    assert bool(problems.counts) == (clipped is None)
    good, _ = check_boxes(boxes, None, 'a.jpg', DatasetProblems('x'))
    assert len(good) == (1 if kind == 'degenerate box' else 2)


def test_check_boxes_of_none():
    good, cut = check_boxes(np.zeros((0, 4)), (40, 30), 'a.jpg', DatasetProblems('x'))
    assert good.shape == (0, 4) and cut == 0
