"""What maps tell of their boxes, and how boxes of many regions are chosen."""

from wsol_mm.evaluation.functional import ImageGeometry, suppress_overlapping
from wsol_mm.evaluation.functional.box_confidence import (
    EVIDENCE,
    RULE,
    box_confidence,
    box_evidence,
    nearby_levels,
)
from wsol_mm.evaluation.functional.regions import region_boxes
from wsol_mm.evaluation.map_boxes import confident_boxes, predict_boxes
from wsol_mm.evaluation.protocols import get_protocol

import cv2
import numpy as np
import pytest

SIDE = 100
GEOMETRY = ImageGeometry((200, 100), (SIDE, SIDE), (SIDE, SIDE))


def blob(*centres, width=8.0, height=1.0) -> np.ndarray:
    """Bumps on a map (SIDE, SIDE)."""
    y, x = np.mgrid[:SIDE, :SIDE]
    bumps = [np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2)) for cx, cy in centres]
    return (height * np.max(bumps, axis=0)).astype(np.float32)


def evidence_of(score, box) -> dict:
    (row,) = box_evidence(score, np.array([box]), 0.3)
    return dict(zip(EVIDENCE, row, strict=True))


def test_evidence_of_two_plain_squares():
    score = np.zeros((SIDE, SIDE), np.float32)
    score[20:60, 10:50] = 1.0
    score[80:100, 80:100] = 0.5
    found = evidence_of(score, [10, 20, 50, 60])
    # 1,600 of 2,000 pixels, and 1,600 of 1,800 of the sum; perimeters of 160, and of 80 at half the height.
    assert found == pytest.approx(
        dict(stability=1, mass=1600 / 1800, dominance=1600 / 2000, outline=160 / (160 + 40), cut=0), rel=1e-6
    )
    other = evidence_of(score, [80, 80, 100, 100])
    # It is there at 1.3 and 1.6 times the threshold, but not in the strongest half; two of its sides, which
    # share a corner, are on the border of 396 pixels.
    assert other == pytest.approx(
        dict(stability=2 / 4, mass=200 / 1800, dominance=0.2, outline=80 / (160 + 40), cut=39 / 396), rel=1e-6
    )


def test_outline_of_dents_and_slopes():
    ring = np.zeros((SIDE, SIDE), np.float32)
    ring[20:80, 20:80] = 1
    ring[30:70, 30:70] = 0
    # What is inside has an outline as well: 240 of 240 + 160.
    assert evidence_of(ring, [20, 20, 80, 80])['outline'] == pytest.approx(0.6)
    # Of a cone, what is above a level is smaller than its box: never more than 1.
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    cone = np.clip(1 - np.hypot(x, y) / 40, 0, 1).astype(np.float32)
    assert evidence_of(cone, [22, 22, 78, 78])['outline'] == 1


def test_strongest_pixels_show_what_levels_do_not():
    """A map that says all or nothing, but for a little more in one corner of its box."""
    score = np.zeros((SIDE, SIDE), np.float32)
    score[20:60, 20:60] = 0.9999
    score[20:40, 20:40] = 1
    # The strongest quarter of the 1,600 pixels has a box of a quarter of the size; the half, of the whole.
    assert evidence_of(score, [20, 20, 60, 60])['stability'] == pytest.approx((3 + 0.25) / 4)


def test_nothing_above_the_threshold_has_no_evidence():
    faint = np.full((SIDE, SIDE), 0.2, np.float32)
    found = evidence_of(faint, [0, 0, SIDE, SIDE])
    # A plain map varies at its border alone: 400 of 0.2 * 400.
    assert found == pytest.approx(dict(stability=0, mass=1, dominance=0, outline=1, cut=0))


def test_levels_near_a_threshold():
    assert nearby_levels(0.3) == pytest.approx([0.39, 0.48])
    assert nearby_levels(0.5) == pytest.approx([0.65, 0.8])
    assert nearby_levels(0.9) == pytest.approx([0.93, 0.96])
    assert nearby_levels(0.0) == [0, 0]


@pytest.mark.parametrize('threshold', [0.1, 0.49, 0.5, 0.7, 0.95])
def test_stability_is_that_of_the_map_at_every_threshold(threshold):
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[20:60, 10:50] = 1.0
    box = np.array([[10.0, 20, 50, 60]])
    column = EVIDENCE.index('stability')
    # What is all or nothing does not move; a slope does, but never as much as if there were nothing.
    assert box_evidence(mask, box, threshold)[0, column] == 1
    slope = blob((50, 50), width=16)
    found, _ = region_boxes(slope > threshold)
    assert 0.25 < box_evidence(slope, found, threshold)[0, column] < 0.85


@pytest.mark.parametrize('side', [100, 448])
def test_evidence_does_not_depend_on_the_size_of_the_map(side):
    score = blob((40, 50))
    large = cv2.resize(score, (side, side))
    box = np.array([[28.0, 38, 53, 63]])
    evidence = box_evidence(large, box * side / SIDE, 0.3)
    np.testing.assert_allclose(evidence, box_evidence(score, box, 0.3), atol=0.06)


def test_confidence_is_the_logistic_rule():
    evidence = np.array([[0.9, 0.5, 0.8, 0.9, 0.25], [0, 0, 0, 0, 1]])
    weights = [RULE[name] for name in EVIDENCE]
    odds = RULE['intercept'] + evidence @ weights
    np.testing.assert_allclose(box_confidence(evidence), 1 / (1 + np.exp(-odds)))
    # More of it speaks for the box, but for what the border of the map cuts off.
    assert (np.sign(weights) == [1, 1, 1, 1, -1]).all() and RULE['intercept'] < 0


@pytest.mark.parametrize('protocol', ['ts_cam', 'sat', 'found'])
def test_clear_maps_before_doubtful_ones_and_nothing_last(protocol):
    protocol = get_protocol(protocol)
    noise = cv2.GaussianBlur(np.random.default_rng(0).random((SIDE, SIDE), np.float32), (5, 5), 0)
    edge = np.tile(np.linspace(0, 1, SIDE, dtype=np.float32), (SIDE, 1))
    clear, several = blob((50, 50), width=16), blob((20, 20), (80, 80), (20, 80))
    values = []
    for loc_map in (clear, several, noise, edge, np.ones((14, 14), np.float32)):
        boxes, (confidence,) = confident_boxes(loc_map, GEOMETRY, protocol)
        np.testing.assert_allclose(boxes, predict_boxes(loc_map, GEOMETRY, protocol))
        assert 0 <= confidence <= 1
        values.append(confidence)
    assert values[0] > max(values[1:]) and values[-1] == 0
    assert confident_boxes(np.full((4, 4), np.nan, np.float32), GEOMETRY, protocol)[1].tolist() == [0]


def test_many_boxes_are_those_of_all_regions_that_are_not_too_small():
    score = blob((20, 20), (75, 75), width=6)
    score[50:52, 10:12] = 1  # a speck
    protocol = get_protocol('sat', thresholds=(0.5,))
    boxes, confidences = confident_boxes(score, GEOMETRY, protocol, many=True)
    assert len(boxes) == 2 and (np.diff(confidences) <= 0).all()
    centres = sorted(((boxes[:, :2] + boxes[:, 2:]) / 2).round().tolist())
    np.testing.assert_allclose(centres, [[41, 20], [151, 76]], atol=1)  # the image is twice as wide
    (single,) = confident_boxes(score, GEOMETRY, protocol)[0]
    assert any(np.allclose(single, box) for box in boxes)
    (nothing,) = confident_boxes(np.zeros((4, 4)), GEOMETRY, get_protocol('found'), many=True)[1]
    assert nothing == pytest.approx(0, abs=0.02)
    with pytest.raises(ValueError, match='expected one with one threshold'):
        confident_boxes(score, GEOMETRY, get_protocol('maxboxacc'))


def test_regions_the_largest_first():
    mask = np.zeros((6, 8), bool)
    mask[0, 0] = mask[1, 1] = True
    mask[3:5, 2:8] = True
    boxes, pixels = region_boxes(mask)
    assert boxes.tolist() == [[2, 3, 8, 5], [0, 0, 2, 2]] and pixels.tolist() == [12, 2]
    assert region_boxes(mask, connectivity=4)[1].tolist() == [12, 1, 1]
    assert len(region_boxes(np.zeros((3, 3), bool))[0]) == 0


def test_boxes_that_overlap_are_suppressed():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [5, 0, 15, 10], [50, 50, 60, 60]])
    assert suppress_overlapping(boxes, np.array([0.5, 0.9, 0.1, 0.5]), 0.5).tolist() == [1, 3, 2]
    assert suppress_overlapping(boxes, np.array([0.5, 0.9, 0.1, 0.5]), 0.3).tolist() == [1, 3]
    assert suppress_overlapping(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []
