"""The region finder against the loop over thresholds with OpenCV, and against the reference boxes."""

import subprocess
import sys
from collections.abc import Callable

from benchmarks.threshold_loop import (
    all_contour_boxes,
    component_boxes,
    largest_component_boxes,
    largest_contour_boxes,
    level_masks,
)
from wsol_mm.evaluation.functional.boxes import box_iou
from wsol_mm.evaluation.functional.regions import (
    RegionFinder,
    Regions,
    all_regions,
    best_iou_per_level,
    largest_regions,
)
from wsol_mm.evaluation.functional.thresholding import integer_thresholds, level_image, quantize, share_table

import cv2
import numpy as np
import pytest


def boxes_by_level(regions: Regions, num_levels: int) -> list[list[tuple[int, ...]]]:
    """Sorted boxes at every level."""
    boxes = [tuple(box) for box in regions.boxes.tolist()]
    by_level = [[] for _ in range(num_levels)]
    for box, first, last in zip(boxes, regions.first_level, regions.last_level, strict=True):
        for level in range(first, last + 1):
            by_level[level].append(box)
    return [sorted(here) for here in by_level]


def assert_equal_to_loop(levels: np.ndarray, num_levels: int) -> None:
    masks = list(level_masks(levels, num_levels))
    assert np.array_equal(largest_regions(levels, num_levels), largest_contour_boxes(masks))
    assert np.array_equal(largest_regions(levels, num_levels, 'pixels'), largest_component_boxes(masks))
    contours = [sorted(boxes) for boxes in all_contour_boxes(masks)]
    assert boxes_by_level(all_regions(levels, num_levels), num_levels) == contours
    components = [sorted(boxes) for boxes in component_boxes(masks)]
    assert boxes_by_level(all_regions(levels, num_levels, holes=False), num_levels) == components


def _binary(rng, h, w):
    return rng.random((h, w)) < rng.random()


def _few_levels(rng, h, w):
    return rng.integers(0, rng.integers(2, 9), (h, w))


def _many_levels(rng, h, w):
    return rng.integers(0, 40, (h, w))


def _smooth(rng, h, w):
    image = cv2.GaussianBlur(rng.random((h, w)), (0, 0), rng.uniform(0.5, 4))
    return (image - image.min()) / (np.ptp(image) + 1e-9) * rng.integers(2, 30)


def _rings_with_tails(rng, h, w):
    image = np.zeros((h, w), np.uint8)
    for _ in range(rng.integers(1, 5)):
        centre, axes = rng.integers((w, h)).tolist(), rng.integers(1, 15, 2).tolist()
        cv2.ellipse(image, centre, axes, int(rng.integers(180)), 0, 360, int(rng.integers(1, 9)), 1)
        end = rng.integers((w, h)).tolist()
        cv2.line(image, centre if rng.random() < 0.5 else end, end, int(rng.integers(1, 9)), 1)
    return image


def _lines(rng, h, w):
    image = np.zeros((h, w), np.uint8)
    for _ in range(rng.integers(1, 9)):
        start, end = rng.integers((w, h)).tolist(), rng.integers((w, h)).tolist()
        cv2.line(image, start, end, int(rng.integers(1, 9)), 1)
    return image


def _checkerboard(rng, h, w):
    board = np.add.outer(np.arange(h), np.arange(w)) % rng.integers(2, 4) == 0
    return board * rng.integers(1, 5, (h, w))


def _holes(rng, h, w):
    return 5 - 4 * (rng.random((h, w)) < 0.1) - (rng.random((h, w)) < 0.03)


def _pits(rng, h, w):
    return 20 - cv2.GaussianBlur((rng.random((h, w)) < 0.05) * 200.0, (0, 0), 1.0).clip(0, 20)


def _spots(rng, h, w):
    spots = cv2.GaussianBlur(rng.random((h, w)), (0, 0), 1.0) > 0.5
    return spots * rng.integers(1, 4, (h, w))


def _constant(rng, h, w):
    return np.full((h, w), rng.integers(0, 3))


KINDS = (
    (_binary, 200),
    (_few_levels, 150),
    (_many_levels, 60),
    (_smooth, 120),
    (_rings_with_tails, 150),
    (_lines, 120),
    (_checkerboard, 100),
    (_holes, 100),
    (_pits, 60),
    (_spots, 100),
    (_constant, 40),
)


@pytest.mark.parametrize(('kind', 'number'), KINDS, ids=lambda value: getattr(value, '__name__', ''))
def test_random_maps(kind: Callable, number: int):
    rng = np.random.default_rng(number)
    for _ in range(number):
        h, w = rng.integers(1, 41, 2)
        levels = kind(rng, h, w).astype(np.uint16)
        # Levels above the highest pixel have no region.
        assert_equal_to_loop(levels, max(1, int(levels.max()) + int(rng.integers(0, 2))))


@pytest.mark.parametrize('kind', [_smooth, _rings_with_tails, _holes, _pits, _many_levels])
def test_codes_order_the_pixels_of_a_level(kind: Callable):
    """The regions of levels that are a step function of codes are those of the levels alone."""
    rng = np.random.default_rng(1)
    for taus in (np.arange(0, 1, 0.01), np.arange(0.1, 1, 0.2), np.arange(0, 1, 0.001)):
        codes = quantize(cv2.normalize(kind(rng, 30, 36).astype(np.float64), None, 0, 1, cv2.NORM_MINMAX))
        levels, num_levels, index = level_image(codes, integer_thresholds(taus, 255))
        table, count, places = share_table(taus.tobytes(), 255)
        assert count == num_levels and np.array_equal(table[codes], levels) and np.array_equal(places, index)
        by_codes, by_levels = RegionFinder(codes, count, table), RegionFinder(levels, count)
        assert np.array_equal(by_codes.levels, levels)
        for criterion in ('polygon', 'pixels'):
            assert np.array_equal(by_codes.largest(criterion), by_levels.largest(criterion))
        for holes in (False, True):
            found, expected = (boxes_by_level(x.all(holes), count) for x in (by_codes, by_levels))
            assert found == expected
    with pytest.raises(TypeError, match='levels: expected an array of uint8, got uint16'):
        RegionFinder(levels, count, table)
    with pytest.raises(ValueError, match='num_levels: expected .* the highest level, [0-9]+, got 2'):
        RegionFinder(codes, 2, table)
    with pytest.raises(ValueError, match='table: expected level 0 of code 0, .* got 1'):
        RegionFinder(codes, count + 1, table + np.uint16(1))


def test_a_thousand_levels():
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.random((40, 40)), (0, 0), 2.0)
    levels = ((smooth - smooth.min()) / np.ptp(smooth) * 1000).astype(np.uint16)
    assert_equal_to_loop(levels, 1000)


def test_the_highest_number_of_levels():
    levels = np.array([[0, 65535, 3], [0, 0, 65535]], np.uint16)
    regions = all_regions(levels, 65535)
    assert sorted(
        zip(map(tuple, regions.boxes.tolist()), regions.first_level, regions.last_level, strict=True)
    ) == [
        ((1, 0, 3, 2), 0, 2),
        ((1, 0, 3, 2), 3, 65534),
    ]


@pytest.mark.parametrize('shape', [(1, 1), (1, 17), (17, 1), (2, 9)])
def test_thin_maps(shape: tuple[int, int]):
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert_equal_to_loop(rng.integers(0, 6, shape).astype(np.uint16), 5)


def test_views_and_read_only_arrays():
    levels = np.random.default_rng(0).integers(0, 5, (20, 30)).astype(np.uint16)
    expected = largest_regions(levels.T.copy(), 4)
    view = levels.T
    view.flags.writeable = False
    assert np.array_equal(largest_regions(view, 4), expected)
    before = levels.copy()
    all_regions(levels, 4)
    assert np.array_equal(levels, before)


def test_nothing_above():
    levels = np.zeros((5, 6), np.uint16)
    for num_levels in (1, 3):
        for criterion in ('polygon', 'pixels'):
            assert (largest_regions(levels, num_levels, criterion) == -1).all()
        for holes in (True, False):
            regions = all_regions(levels, num_levels, holes)
            assert regions.boxes.shape == (0, 4) and len(regions.first_level) == len(regions.last_level) == 0


def test_polygon_ties_and_pixel_ties():
    # Two lines (polygon area 0) of 3 and 4 pixels, and one pixel.
    levels = np.zeros((7, 7), np.uint16)
    levels[0, 0:3] = levels[2, 0:4] = levels[4, 6] = 2
    assert largest_regions(levels, 2)[0].tolist() == [6, 4, 7, 5]
    assert largest_regions(levels, 2, 'pixels')[0].tolist() == [0, 2, 4, 3]
    levels[2, 3] = 0
    assert largest_regions(levels, 2, 'pixels')[0].tolist() == [0, 0, 3, 1]


def test_hole_with_the_area_of_its_component():
    # A diamond ring a pixel wide, with a tail: the ring's inner and outer border enclose the same polygon.
    levels = np.zeros((11, 20), np.uint16)
    for x in range(1, 10):
        levels[5 - (4 - abs(x - 5)), x] = levels[5 + (4 - abs(x - 5)), x] = 2
    levels[5, 10:19] = 2
    assert largest_regions(levels, 2).tolist() == [[1, 1, 19, 10]] * 2
    regions = all_regions(levels, 2)
    assert sorted(map(tuple, regions.boxes.tolist())) == [(1, 1, 10, 10), (1, 1, 19, 10)]
    assert regions.first_level.tolist() == [0, 0] and regions.last_level.tolist() == [1, 1]


@pytest.mark.parametrize('call', [largest_regions, all_regions])
@pytest.mark.parametrize(
    ('levels', 'num_levels', 'error', 'message'),
    [
        (np.zeros((3, 3), np.uint8), 2, TypeError, 'levels: expected an array of uint16, got uint8'),
        ([[0]], 2, TypeError, 'list'),
        (np.zeros(3, np.uint16), 2, ValueError, r'\(3,\)'),
        (np.zeros((0, 3), np.uint16), 2, ValueError, r'\(0, 3\)'),
        (np.full((3, 3), 5, np.uint16), 4, ValueError, 'num_levels: expected .* the highest level, 5, got 4'),
        (np.full((3, 3), 2, np.uint16), 1, ValueError, 'num_levels: expected .* the highest level, 2, got 1'),
        (np.zeros((3, 3), np.uint16), 0, ValueError, 'num_levels: expected at least 1 .*, got 0'),
    ],
)
def test_errors(call: Callable, levels, num_levels: int, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        call(levels, num_levels)


def test_unknown_criterion():
    with pytest.raises(
        ValueError, match="criterion: expected one of 'polygon', 'pixels', 'pixels_4', got 'area'"
    ):
        largest_regions(np.zeros((3, 3), np.uint16), 1, 'area')


def test_four_connected_regions():
    levels = np.zeros((5, 6), np.uint16)
    levels[0, :3] = 1
    levels[1:3, 3] = 1  # touches by a corner
    levels[4, 3:6] = 1
    assert largest_regions(levels, 1, 'pixels')[0].tolist() == [0, 0, 4, 3]
    assert largest_regions(levels, 1, 'pixels_4')[0].tolist() == [
        0,
        0,
        3,
        1,
    ]  # the first of two of equal size
    assert largest_regions(0 * levels, 1, 'pixels_4')[0].tolist() == [-1] * 4
    with pytest.raises(ValueError, match="num_levels: expected 1, as criterion is 'pixels_4', got 2"):
        largest_regions(levels, 2, 'pixels_4')


@pytest.mark.parametrize('inclusive', [False, True])
@pytest.mark.parametrize('last_pixel', [(np.inf, np.inf), (11, 8)])
def test_best_iou_per_level_is_that_of_every_box(inclusive: bool, last_pixel: tuple[float, float]):
    rng = np.random.default_rng(0)
    for number in (0, 1, 40):
        corners = rng.integers(0, 12, (number, 2, 2))
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.int32)
        levels = np.sort(rng.integers(0, 7, (number, 2)), axis=1).astype(np.int32)
        # The last one is empty: no union without the end pixel.
        gt_boxes = np.array([[1.5, 2, 9, 7.25], [0, 0, 3, 3], [4, 4, 4, 4]])
        found = best_iou_per_level(Regions(boxes, *levels.T), gt_boxes, 8, last_pixel, inclusive)
        clipped = np.concatenate([boxes[:, :2], np.minimum(boxes[:, 2:], last_pixel)], axis=1)
        iou = box_iou(clipped, gt_boxes, inclusive).max(axis=1)
        for level in range(8):
            here = (levels[:, 0] <= level) & (level <= levels[:, 1])
            # Equal, not close: counts of boxes hang on it.
            assert found[level] == iou[here].max(initial=-1), (number, level)


@pytest.mark.parametrize(
    ('first', 'last', 'gt_boxes', 'message'),
    [
        ([0, -1], [0, 1], [[0, 0, 1, 1]], r'regions: expected levels within \[0, 5\), got -1 to 1'),
        ([0, 1], [0, 5], [[0, 0, 1, 1]], r'within \[0, 5\), got 0 to 5'),
        ([0, 1], [0, 1], [0, 0, 1, 1], r'gt_boxes: expected the shape \(G, 4\) .*, got \(4,\)'),
        ([0, 1], [0, 1], np.zeros((0, 4)), r'gt_boxes: expected .* with at least one, got \(0, 4\)'),
    ],
)
def test_best_iou_per_level_errors(first: list[int], last: list[int], gt_boxes, message: str):
    regions = Regions(np.zeros((2, 4), np.int32), np.array(first), np.array(last))
    with pytest.raises(ValueError, match=message):
        best_iou_per_level(regions, gt_boxes, 5)


def test_numba_is_imported_at_the_first_use():
    code = (
        'import sys, wsol_mm, wsol_mm.evaluation, wsol_mm.evaluation.functional as f, numpy as np\n'
        "assert 'numba' not in sys.modules, 'at import'\n"
        'levels = np.eye(4, dtype=np.uint16)\n'
        'f.largest_regions(levels, 1), f.largest_regions(levels, 1, "pixels"), f.all_regions(levels, 1)\n'
        "assert 'numba' not in sys.modules, 'with one level'\n"
        'f.largest_regions(levels, 2)\n'
        "assert 'numba' in sys.modules, 'never'\n"
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_kernels_are_compiled_once():
    from wsol_mm.evaluation.functional import largest_region_kernels, region_kernels

    levels = np.random.default_rng(0).integers(0, 4, (9, 9)).astype(np.uint16)
    for image in (levels, levels.T, np.asfortranarray(levels), np.zeros((1, 1), np.uint16)):
        for num_levels in (3, np.int32(4), np.int64(5)):
            largest_regions(image, num_levels)
            largest_regions(image, num_levels, 'pixels')
            regions = all_regions(image, num_levels)
            gt_boxes = np.broadcast_to(np.float32(1), (2, 4))
            best_iou_per_level(regions, gt_boxes, num_levels, (3, 3), np.bool_(True))
    # Once for levels and once for codes, which other tests give it.
    types = [signature[0].dtype for signature in region_kernels.neighbour_masks.signatures]
    assert sorted(map(str, types)) in (['uint16'], ['uint16', 'uint8'])
    kernels = (
        region_kernels.component_nodes,
        region_kernels.hole_nodes,
        largest_region_kernels.polygon_boxes,
        largest_region_kernels.pixel_boxes,
        largest_region_kernels.best_iou,
    )
    assert [len(kernel.signatures) for kernel in kernels] == [1] * len(kernels)


@pytest.mark.parametrize(
    ('case', 'scale'), [('box_cub', 255.0), ('box_multigt', 255.0), ('box_u16', 65535.0)]
)
@pytest.mark.parametrize('step', ['0.01', '0.001'])
def test_reference_boxes(shared_dir, case: str, scale: float, step: str):
    """Boxes of the official evaluator: single at every threshold, all at every tenth, their number at all."""
    with np.load(shared_dir / 'parity' / 'evaluation' / f'{case}.npz') as file:
        maps, thresholds = file['in/maps'], file[f'in/thresholds_{step}']
        single = file[f'out/{step}/single/boxes']
        num_boxes = file[f'out/{step}/multi/num_boxes']
        every_tenth = {
            name: file[f'out/{step}/multi/{name}']
            for name in ('boxes_every10', 'boxes_every10_count')
            if f'out/{step}/multi/{name}' in file
        }
    start = 0
    for i, stored in enumerate(maps):
        codes = quantize(stored / scale)
        levels, num_levels, index = level_image(codes, integer_thresholds(thresholds, codes.max()))
        assert np.array_equal(
            _official(largest_regions(levels, num_levels), codes.shape)[index], single[i]
        ), i

        regions = all_regions(levels, num_levels)
        change = np.zeros(num_levels + 1, int)
        np.add.at(change, regions.first_level, 1)
        np.add.at(change, regions.last_level + 1, -1)
        number = np.cumsum(change)[:-1]
        assert np.array_equal(np.maximum(number, 1)[index], num_boxes[i]), i

        if every_tenth:
            boxes = _official(regions.boxes, codes.shape)
            for j, count in zip(index[::10], every_tenth['boxes_every10_count'][i], strict=True):
                expected = every_tenth['boxes_every10'][start : start + count]
                start += count
                here = boxes[(regions.first_level <= j) & (j <= regions.last_level)]
                here = here if len(here) else np.zeros((1, 4), int)
                assert np.array_equal(_sorted(here), _sorted(expected)), (i, j)
    assert not every_tenth or start == len(every_tenth['boxes_every10'])


def _official(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Ends as the official evaluator writes them: clipped to the last pixel, zeros without a region."""
    return np.maximum(np.minimum(boxes, (*shape[::-1], shape[1] - 1, shape[0] - 1)), 0)


def _sorted(boxes: np.ndarray) -> np.ndarray:
    return boxes[np.lexsort(boxes.T)]
