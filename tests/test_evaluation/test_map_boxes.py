from collections import Counter
from functools import partial

from wsol_mm.evaluation import get_protocol, map_boxes
from wsol_mm.evaluation.box_protocol import with_one_threshold
from wsol_mm.evaluation.functional import ConstantMapError, ImageGeometry, region_kernels
from wsol_mm.evaluation.map_boxes import (
    EvaluatedMap,
    empty_box,
    empty_map_iou,
    finish_boxes,
    ground_truth_in_frame,
    heat_on_image,
    is_empty,
    localization_map_iou,
    predict_boxes,
    score_map,
    score_map_iou,
)
from wsol_mm.evaluation.protocols import PRESETS

import numpy as np
import pytest

from .samples import block_map

SIZE = (56, 56)
BOX = np.array([[10, 10, 40, 40]])


def test_one_box_per_threshold():
    result = score_map_iou(block_map(10, 10, 40, 40), BOX, get_protocol('lctr'))
    assert result.boxes.tolist() == [[10, 10, 40, 40]]
    assert result.iou.tolist() == [1]
    # inclusive IoU counts the exclusive end once more: 31 x 31 pixels on both sides
    assert score_map_iou(block_map(10, 10, 40, 40), BOX, get_protocol('ts_cam')).iou.tolist() == [1]


def test_all_contours_take_the_best():
    two = block_map(0, 0, 50, 8) + block_map(10, 20, 20, 30)
    gt_boxes = np.array([[10, 20, 20, 30]])
    single = score_map_iou(two, gt_boxes, get_protocol('maxboxacc'))
    multi = score_map_iou(two, gt_boxes, get_protocol('maxboxacc_v2'))
    assert single.iou.max() < 0.5 and (multi.iou == 1).all()
    assert multi.boxes is None


def test_thresholds_are_separate():
    steps = block_map(0, 0, 50, 50) * 0.5 + block_map(10, 10, 40, 40) * 0.5
    protocol = get_protocol('maxboxacc', thresholds=(0.2, 0.6))
    assert score_map_iou(steps, BOX, protocol).boxes.tolist() == [[0, 0, 50, 50], [10, 10, 40, 40]]


@pytest.mark.parametrize(
    ('name', 'box'), [('ts_cam', [0, 0, 1, 1]), ('maxboxacc', [0, 0, 0, 0]), ('sat', [0, 0, 30, 20])]
)
def test_empty_box(name, box):
    protocol = get_protocol(name)
    assert empty_box((20, 30), protocol).tolist() == box
    assert finish_boxes(np.array([[-1, -1, -1, -1]]), (20, 30), protocol).tolist() == [box]


def test_ends_are_clipped_only_where_the_protocol_does():
    full = np.array([[0, 0, 56, 56], [1, 2, 30, 40]])
    assert finish_boxes(full, (56, 56), get_protocol('ts_cam')).tolist() == full.tolist()
    assert finish_boxes(full, (56, 56), get_protocol('scm')).tolist() == [[0, 0, 55, 55], [1, 2, 30, 40]]


@pytest.mark.parametrize('contours', ['largest', 'all'])
def test_a_map_that_is_constant_but_for_rounding_has_no_box_of_noise(contours):
    protocol, size, gt_boxes = (
        get_protocol('trilite', contours=contours),
        (224, 224),
        np.array([[9, 9, 99, 99]]),
    )
    constant = np.full((32, 32), 0.7, np.float32)
    nearly = constant + np.float32(2e-7) * np.eye(32, dtype=np.float32)
    for loc_map in (constant, nearly):
        for make in (partial(localization_map_iou, gt_boxes=gt_boxes), score_map):
            with pytest.raises(ConstantMapError, match='values that differ by 1e-06, got'):
                make(loc_map, size=size, protocol=protocol)
    found = localization_map_iou(constant + np.float32(1e-5) * np.eye(32), gt_boxes, size, protocol)
    assert found.iou.max() > 0
    # As published, rounding is stretched.
    assert score_map(constant, size, get_protocol('trilite', least_contrast=0)).max() == 1


def test_constant_map_raises_and_has_a_score():
    protocol = get_protocol('lctr')
    with pytest.raises(ConstantMapError):
        localization_map_iou(np.ones((7, 7), np.float32), BOX, SIZE, protocol)
    assert empty_map_iou(BOX, SIZE, protocol).iou.item() == pytest.approx(900 / 56**2)
    # SAT's eps gives a score map of zeros instead, with the same box
    sat = localization_map_iou(np.ones((7, 7), np.float32), BOX, SIZE, get_protocol('sat'))
    assert sat.boxes.tolist() == [[0, 0, 56, 56]]


@pytest.mark.parametrize('name', list(PRESETS))
def test_predicted_box_in_pixels_of_the_image(name):
    geometry = ImageGeometry((112, 224), SIZE, SIZE)
    protocol = with_one_threshold(name, 0.3)
    boxes = predict_boxes(block_map(10, 10, 40, 40), geometry, protocol)
    assert boxes == pytest.approx(np.array([[20, 40, 80, 160]]), abs=2)
    constant = predict_boxes(np.ones((7, 7), np.float32), geometry, protocol)
    assert constant.shape == (1, 4)


def test_swept_protocol_needs_a_threshold():
    with pytest.raises(ValueError, match="protocol: expected one with one threshold, got 'scm' with"):
        predict_boxes(block_map(1, 1, 5, 5), ImageGeometry(SIZE, SIZE, SIZE), get_protocol('scm'))


def test_which_ground_truth_counts():
    geometry = ImageGeometry(SIZE, SIZE, SIZE)
    boxes = np.array([[0.0, 0, 5, 5], [6, 6, 9, 9]])
    assert ground_truth_in_frame(boxes, geometry, get_protocol('lctr')).tolist() == [[0, 0, 5, 5]]
    assert ground_truth_in_frame(boxes, geometry, get_protocol('cdtr')).tolist() == [[6, 6, 9, 9]]
    assert len(ground_truth_in_frame(boxes, geometry, get_protocol('ts_cam'))) == 2


def test_score_map_follows_the_protocol():
    loc_map = np.random.default_rng(0).standard_normal((7, 7)).astype(np.float32)
    assert score_map(loc_map, SIZE, get_protocol('scm')).dtype == np.float64
    assert score_map(loc_map, SIZE, get_protocol('ts_cam')).dtype == np.float32
    assert score_map(loc_map, SIZE, get_protocol('ts_cam')).max() == 1
    assert score_map(loc_map, SIZE, get_protocol('sat')).max() < 1


def test_heat_lies_where_the_network_looked():
    loc_map = np.zeros((14, 14), np.float32)
    loc_map[:, 7:] = 1
    heat = heat_on_image(loc_map, ImageGeometry((200, 100), (256, 256), (224, 224)), get_protocol('ts_cam'))
    assert heat.shape == (100, 200)
    # the crop covers x 12.5..187.5 and y 6.25..93.75 of the image
    assert heat[50, 150] == 1 and heat[50, 50] == 0
    assert not heat[:6].any() and not heat[:, 188:].any()
    flat = heat_on_image(
        np.ones((14, 14), np.float32), ImageGeometry((20, 10), (8, 8), (8, 8)), get_protocol('ts_cam')
    )
    assert not flat.any()


def test_protocols_share_their_steps(monkeypatch):
    """Score map, codes, levels and components are made once, and nothing changes by that."""
    calls = Counter()

    def counted(owner, name):
        function = getattr(owner, name)

        def wrapper(*args, **kwargs):
            calls[name] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapper)

    for name in ('enlarge', 'normalized_codes', 'RegionFinder'):
        counted(map_boxes, name)
    counted(region_kernels, 'component_nodes')
    loc_map = np.random.default_rng(0).standard_normal((14, 14)).astype(np.float32)
    alike = ['maxboxacc', 'maxboxacc_v2', dict(name='maxboxacc', inclusive_iou=False, clip_ends=False)]
    coarse = dict(name='maxboxacc', thresholds=(0.1, 0.5), threshold_choice='each')
    protocols = [get_protocol(p) if isinstance(p, str) else get_protocol(**p) for p in (*alike, coarse)]
    evaluated = EvaluatedMap(loc_map)
    together = [evaluated.iou(BOX, SIZE, protocol) for protocol in protocols]
    assert calls == dict(enlarge=1, normalized_codes=1, RegionFinder=2, component_nodes=2)
    for protocol, found in zip(protocols, together, strict=True):
        alone = localization_map_iou(loc_map, BOX, SIZE, protocol)
        assert np.array_equal(found.iou, alone.iou)
        assert found.boxes is alone.boxes is None or np.array_equal(found.boxes, alone.boxes)
    # Another frame, precision or interpolation is another map.
    calls.clear()
    for name, size in (('ts_cam', SIZE), ('lctr', SIZE), ('scm', SIZE), ('ts_cam', (28, 28))):
        evaluated.iou(BOX, size, get_protocol(name))
    assert calls['enlarge'] == 3


def test_presets_together_give_what_each_gives_alone():
    rng = np.random.default_rng(1)
    for _ in range(5):
        loc_map = rng.standard_normal((7, 7)).astype(np.float32)
        evaluated = EvaluatedMap(loc_map)
        for name, protocol in PRESETS.items():
            alone = score_map_iou(score_map(loc_map, SIZE, protocol), BOX, protocol)
            assert np.array_equal(evaluated.iou(BOX, SIZE, protocol).iou, alone.iou), name


def test_a_map_without_contrast_raises_under_every_protocol():
    evaluated = EvaluatedMap(np.ones((7, 7), np.float32))
    for name in ('maxboxacc', 'maxboxacc', 'maxboxacc_v2', 'cdtr', 'cdtr'):
        with pytest.raises(ConstantMapError, match='expected more than one value, got 1.0 alone'):
            evaluated.iou(BOX, SIZE, get_protocol(name))
    assert evaluated.iou(BOX, SIZE, get_protocol('sat')).boxes.tolist() == [[0, 0, 56, 56]]


def test_a_probability_is_not_normalised():
    found = get_protocol('found')
    probabilities = np.array([[0.2, 0.6, 0.2], [0.2, 0.2, 0.9], [0.5, 0.2, 0.9]], np.float32)
    geometry = ImageGeometry((30, 60), (24, 24), (24, 24))
    # Whole patches of 8 pixels, 4-connected; the other one touches by a corner.
    assert predict_boxes(probabilities, geometry, found).tolist() == [[20, 20, 30, 60]]
    assert not is_empty(probabilities, found)
    assert is_empty(0.5 * probabilities, found) and not is_empty(0.5 * probabilities, get_protocol('sat'))
    assert predict_boxes(0.5 * probabilities, geometry, found).tolist() == [[0, 0, 30, 60]]
    assert predict_boxes(0 * probabilities, geometry, found).tolist() == [[0, 0, 30, 60]]
