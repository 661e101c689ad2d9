"""Codes, integer thresholds and levels."""

from wsol_mm.evaluation.functional.thresholding import integer_thresholds, level_image, quantize

import numpy as np
import pytest


def test_quantize_truncates_the_product():
    scores = np.array([[0.0, 0.5, 1.0], [1 / 255, 2.999 / 255, 0.999999]])
    assert quantize(scores).tolist() == [[0, 127, 255], [1, 2, 254]]
    assert quantize(scores).dtype == np.uint8


def test_quantize_multiplies_in_the_type_of_the_map():
    scores = np.random.default_rng(0).random((50, 50))
    assert np.array_equal(quantize(scores), (scores * 255).astype(np.uint8))
    single = scores.astype(np.float32)
    assert np.array_equal(quantize(single), (single * np.float32(255)).astype(np.uint8))
    # Just below a code in float64, on it in float32.
    score = np.array([[178 / 255 - 1e-12]])
    assert quantize(score).item() == 177 and quantize(score.astype(np.float32)).item() == 178


def test_quantize_accepts_the_rounding_error_of_an_interpolation():
    assert quantize(np.array([[np.nextafter(1.0, 2), -1e-17]])).tolist() == [[255, 0]]


@pytest.mark.parametrize(
    ('scores', 'error', 'message'),
    [
        (np.array([[0.0, np.nan]]), ValueError, '1 NaN'),
        (np.array([[0.0, 1.1]]), ValueError, 'got 0.0 to 1.1'),
        (np.array([[-0.2, 1.0]]), ValueError, 'got -0.2 to 1.0'),
        (np.array([[np.inf]]), ValueError, r'\[0, 1\]'),
        (np.zeros(3), ValueError, r'\(3,\)'),
        (np.zeros((0, 3)), ValueError, 'at least one pixel'),
        (np.zeros((2, 2), np.float16), TypeError, 'float16'),
        (np.zeros((2, 2), np.uint8), TypeError, 'uint8'),
        ([[0.0]], TypeError, 'list'),
    ],
)
def test_quantize_errors(scores, error, message):
    with pytest.raises(error, match=message):
        quantize(scores)


def test_integer_thresholds_keep_the_float_product():
    assert integer_thresholds(np.array([0.0, 0.29, 0.3, 0.99]), 100).tolist() == [0, 28, 30, 99]
    grid = np.arange(0, 1, 0.001)
    for maximum in (1, 100, 255):
        expected = [int(tau * maximum) for tau in grid]
        assert integer_thresholds(grid, maximum).tolist() == expected
    # A maximum that is still an 8-bit number does not overflow.
    assert integer_thresholds(np.array([0.9]), np.uint8(250)).tolist() == [225]


@pytest.mark.parametrize(
    ('thresholds', 'error', 'message'),
    [
        (np.array([0.1, np.nan]), ValueError, 'NaN'),
        (np.zeros((1, 2)), ValueError, r'\(1, 2\)'),
        (np.zeros(0), ValueError, 'at least one'),
        (np.array(['a']), TypeError, 'real numbers'),
        (np.array([1j]), TypeError, 'complex'),
    ],
)
def test_threshold_errors(thresholds, error, message):
    with pytest.raises(error, match=message):
        integer_thresholds(thresholds, 255)
    with pytest.raises(error, match=message):
        level_image(np.zeros((2, 2), np.uint8), thresholds)


@pytest.mark.parametrize('dtype', [np.uint8, np.float32, np.float64])
def test_levels_reproduce_every_comparison(dtype):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 31)).astype(dtype)
    # Unsorted, with repeats, on and between the values, and outside their range.
    special = [255, 0, -1, 300, 0.5, 0.6]
    thresholds = np.concatenate([rng.integers(0, 256, 30), rng.uniform(-5, 260, 30), special])
    levels, num_levels, index = level_image(image, thresholds)
    assert levels.dtype == np.uint16 and levels.shape == image.shape
    assert levels.max() <= num_levels and index.shape == thresholds.shape
    for threshold, level in zip(thresholds, index, strict=True):
        assert np.array_equal(image > threshold, levels > level), threshold


def test_codes_share_a_level_between_integers():
    levels, num_levels, index = level_image(np.array([[0, 1, 2]], np.uint8), np.array([0.9, 0.1, 1, 1.5, 0]))
    assert num_levels == 2 and index.tolist() == [0, 0, 1, 1, 0]
    assert levels.tolist() == [[0, 1, 2]]


def test_float32_is_compared_in_float32():
    image = np.array([[0.1, 0.3, 0.7]], np.float32)
    for threshold in (0.1, 0.3, 0.7):
        levels, _, index = level_image(image, np.array([threshold]))
        assert np.array_equal(levels > index[0], image > np.float32(threshold))
    # As float64 numbers, 0.1 and 0.3 in float32 lie above the thresholds; in float32 they equal them.
    assert level_image(image, np.array([0.1])).levels.tolist() == [[0, 1, 1]]
    assert level_image(image.astype(np.float64), np.array([0.1])).levels.tolist() == [[1, 1, 1]]


def test_a_thousand_thresholds_on_floats():
    image = np.random.default_rng(0).random((30, 30))
    thresholds = np.arange(0, 1, 0.001)
    levels, num_levels, index = level_image(image, thresholds)
    assert num_levels == 1000 and index.tolist() == list(range(1000))
    assert np.array_equal(levels, (image[..., None] > thresholds).sum(-1))


@pytest.mark.parametrize(
    ('image', 'error', 'message'),
    [
        (np.array([[0.5, np.nan]]), ValueError, 'image: expected numbers, got 1 NaN'),
        (
            np.zeros((2, 2), np.int64),
            TypeError,
            'expected an array of uint8 or float32 or float64, got int64',
        ),
        (np.zeros((2, 2, 1), np.uint8), ValueError, r'\(2, 2, 1\)'),
    ],
)
def test_image_errors(image, error, message):
    with pytest.raises(error, match=message):
        level_image(image, np.array([0.5]))


def test_too_many_levels():
    with pytest.raises(ValueError, match='65535 distinct values, got 65536'):
        level_image(np.zeros((1, 1)), np.arange(65536.0))
