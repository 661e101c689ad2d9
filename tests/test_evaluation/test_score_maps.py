from wsol_mm.evaluation.functional import ConstantMapError, make_score_map, min_max_normalize
from wsol_mm.evaluation.functional.score_maps import normalized_codes
from wsol_mm.evaluation.functional.thresholding import quantize

import cv2
import numpy as np
import pytest

RAMP = np.linspace(-2, 3, 16, dtype=np.float32).reshape(4, 4)


def test_orders_differ_only_in_where_min_max_comes():
    before = make_score_map(RAMP, (16, 16), normalize='before_resize', eps=1e-5)
    after = make_score_map(RAMP, (16, 16))
    assert after.min() == 0 and after.max() == 1
    expected = cv2.resize((RAMP - RAMP.min()) / np.float32(5 + 1e-5), (16, 16))
    assert np.allclose(before, expected, atol=1e-7)
    assert before.dtype == after.dtype == np.float32


def test_bicubic_overshoots_before_and_not_after_normalisation():
    spike = np.zeros((7, 7), np.float32)
    spike[3, 3] = 1
    assert make_score_map(spike, (28, 28), interpolation='bicubic', normalize='before_resize').min() < 0
    score = make_score_map(spike, (28, 28), 'float64', 'bicubic')
    assert (score.min(), score.max(), score.dtype) == (0, 1, np.float64)


def test_size_is_width_and_height():
    assert make_score_map(RAMP, (20, 10)).shape == (10, 20)


@pytest.mark.parametrize('order', ['after_resize', 'before_resize'])
@pytest.mark.parametrize('value', [0.0, 1.5, np.nan])
def test_map_without_contrast(order, value):
    with pytest.raises(ConstantMapError, match='constant|NaN'):
        make_score_map(np.full((3, 3), value, np.float32), (8, 8), normalize=order)


def test_eps_makes_a_constant_map_zero():
    score = make_score_map(np.ones((3, 3), np.float32), (8, 8), normalize='before_resize', eps=1e-5)
    assert not score.any()


def test_single_nan_is_found():
    loc_map = RAMP.copy()
    loc_map[1, 2] = np.nan
    with pytest.raises(ConstantMapError, match='NaN'):
        make_score_map(loc_map, (8, 8))
    with pytest.raises(ConstantMapError, match='NaN'):
        min_max_normalize(loc_map)


@pytest.mark.parametrize('shape', [(4,), (1, 4, 4), (0, 4)])
def test_shape_error(shape):
    with pytest.raises(ValueError, match='loc_map: expected a non-empty'):
        make_score_map(np.zeros(shape, np.float32), (8, 8))


@pytest.mark.parametrize('eps', [0.0, 1e-5])
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_codes_in_one_pass_are_those_of_the_normalised_map(dtype, eps):
    rng = np.random.default_rng(0)
    for scale in (1e-20, 1, 1e20):
        # Multiples of 1/255 of the range are where rounding decides.
        for score in (rng.standard_normal((61, 67)), rng.integers(0, 256, (61, 67)) / 255 - 0.5):
            score = (scale * score).astype(dtype)
            expected = quantize(min_max_normalize(score, eps))
            assert np.array_equal(normalized_codes(score, eps), expected)
    for value in (1, np.nan):
        with pytest.raises(ConstantMapError):
            normalized_codes(np.full((3, 3), value, dtype))
