from wsol_mm.evaluation.functional import localization_outcome

import numpy as np
import pytest

OBJECT = np.array([[10, 10, 49, 49]])  # 40 x 40 pixels
TWO = np.array([[10, 10, 29, 29], [40, 10, 59, 29]])  # 20 x 20 pixels each


@pytest.mark.parametrize(
    ('box', 'gt_boxes', 'outcome'),
    [
        ([10, 10, 49, 49], OBJECT, 'correct'),
        ([12, 12, 27, 27], OBJECT, 'part'),  # inside the object, IoU 0.16
        ([0, 0, 99, 99], OBJECT, 'more'),  # covers it, IoU 0.16
        ([40, 40, 89, 89], OBJECT, 'other'),  # overlaps little of both
        ([60, 60, 80, 80], OBJECT, 'other'),  # no overlap
        ([10, 10, 59, 29], TWO, 'multi_instance'),  # both objects in one box, IoU 0.4 with each
        ([0, 0, 35, 90], TWO, 'more'),  # only one of two objects
    ],
)
def test_outcomes(box, gt_boxes, outcome):
    assert localization_outcome(np.array(box), gt_boxes, class_is_right=True) == outcome


def test_wrong_class_comes_first():
    assert localization_outcome(OBJECT[0], OBJECT, class_is_right=False) == 'classification'


def test_exactly_half_is_not_correct():
    # 80 x 40 pixels against 40 x 40: IoU exactly 0.5
    assert localization_outcome(np.array([10, 10, 89, 49]), OBJECT, class_is_right=True) == 'more'
