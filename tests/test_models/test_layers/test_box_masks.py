"""Tests of wsol_mm.models.layers.box_masks: what every protocol reads off a drawn box."""

from wsol_mm.evaluation.map_boxes import EvaluatedMap, is_empty, score_map, score_map_boxes
from wsol_mm.evaluation.protocols import PRESETS
from wsol_mm.models.layers import box_masks

import numpy as np
import pytest
import torch


def test_pixels_and_their_rounding():
    boxes = torch.tensor([[0.25, 0.5, 0.75, 1.0], [0.3, 0.3, 0.42, 0.3], [-1.0, 0.9, 0.2, 7.0]])
    masks = box_masks(boxes, 8)
    expected = torch.zeros(3, 8, 8)
    expected[0, 4:8, 2:6] = 1
    expected[1, 2, 2] = 1  # 2.4 to 3.36 and 2.4 to 2.4: one pixel
    expected[2, 7, 0:2] = 1
    torch.testing.assert_close(masks, expected)


def test_a_box_of_the_whole_image_keeps_a_contrast():
    mask = box_masks(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), 4)[0]
    assert mask[0, 0] == 0 and mask.sum() == 15


@pytest.mark.parametrize('name', PRESETS)
@pytest.mark.parametrize(
    'box', [(30, 40, 101, 177), (0, 0, 224, 224), (0, 100, 224, 101), (223, 223, 224, 224)]
)
def test_every_threshold_of_every_protocol_gives_the_box(name, box):
    protocol = PRESETS[name]
    loc_map = box_masks(torch.tensor([box]) / 224, 224)[0].numpy()
    assert not is_empty(loc_map, protocol)
    expected = np.array(box, np.float64)
    if protocol.clip_ends:
        expected[2:] = np.minimum(expected[2:], 223)
    if protocol.contours == 'all':
        found = EvaluatedMap(loc_map).iou(expected[None], (224, 224), protocol)
        np.testing.assert_array_equal(found.iou, 1)
    else:
        boxes = score_map_boxes(score_map(loc_map, (224, 224), protocol), protocol)
        np.testing.assert_array_equal(boxes, np.tile(expected, (len(protocol.thresholds), 1)))
