"""Rows that are cut by bitmaps, against a loop over their pixels and the tables of neighbours."""

from wsol_mm.evaluation.functional.neighbour_tables import ARCS, ARCS_4, EULER_CHANGE, WEST
from wsol_mm.evaluation.functional.region_kernels import neighbour_masks
from wsol_mm.evaluation.functional.segment_kernels import cut_rows, segment_at

import numpy as np
import pytest

CRITICAL = {False: (ARCS != 1) | (EULER_CHANGE != 0), True: ARCS_4 > 1}


@pytest.mark.parametrize('four', [False, True])
def test_critical_pixels_are_those_of_the_tables(four):
    """All 256 masks."""
    masks = np.arange(256, dtype=np.uint8)
    *_, found, _, _ = cut_rows(np.ones(256, np.int32), masks, four)
    assert found.tolist() == np.flatnonzero(CRITICAL[four]).tolist()


@pytest.mark.parametrize('four', [False, True])
@pytest.mark.parametrize(('shape', 'levels'), [((1, 1), 3), ((5, 9), 2), ((30, 40), 4), ((61, 67), 200)])
def test_segments_rise_and_fall_once(shape, levels, four):
    """Levels with a border, whose reverse is that of holes: there the border is inside."""
    rng = np.random.default_rng(levels)
    image = np.zeros((shape[0] + 2, shape[1] + 2), np.int32)
    image[1:-1, 1:-1] = rng.integers(0, levels + 1, shape)
    image, stride = image.reshape(-1), shape[1] + 2
    masks = neighbour_masks(image, stride)
    if four:
        image, masks = levels - image, ~masks
    starts, summits, ends, found, begins, before = cut_rows(image, masks, four)

    segments, was_rising = [], False
    for p, (level, mask) in enumerate(zip(image.tolist(), masks.tolist(), strict=True)):
        rising = level > 0 and not mask >> WEST & 1
        if rising and not was_rising:
            segments.append([p, None, None])
        if was_rising and not rising:
            segments[-1 if not (rising and not was_rising) else -2][1] = p - 1
        if level > 0:
            segments[-1][2] = p
            assert segment_at(begins, before, p) == len(segments) - 1
        was_rising = rising
    if segments and segments[-1][1] is None:
        segments[-1][1] = len(image) - 1
    assert np.stack([starts, summits, ends], axis=1).tolist() == segments
    assert found.tolist() == np.flatnonzero(CRITICAL[four][masks] & (image > 0)).tolist()
