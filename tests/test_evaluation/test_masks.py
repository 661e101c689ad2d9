from wsol_mm.evaluation.functional import (
    PixelHistograms,
    best_pixel_iou,
    pixel_average_precision,
    pixel_histograms,
    rasterize_masks,
)

import numpy as np
import pytest

THRESHOLDS = np.arange(0, 1, 0.1)


def test_rasterize_merges_instances_and_keeps_foreground_over_ignore():
    first, second = np.zeros((4, 4), np.uint8), np.zeros((8, 8), np.uint8)
    first[0, 0], second[6:, 6:] = 1, 255
    ignore = np.zeros((4, 4), np.uint8)
    ignore[0, :2] = 255
    label_map = rasterize_masks([first, second], [ignore], (4, 4))
    expected = np.zeros((4, 4), np.uint8)
    expected[0, 0] = expected[3, 3] = 1
    expected[0, 1] = 255
    assert np.array_equal(label_map, expected)
    assert rasterize_masks([first], None, (8, 4)).shape == (4, 8)


def test_rasterize_errors():
    with pytest.raises(ValueError, match=r'masks\[0\]: expected a non-empty 2-D'):
        rasterize_masks([np.zeros((2, 2, 3), np.uint8)], None, (4, 4))


def test_perfect_and_constant_maps():
    label_map = np.zeros((10, 10), np.uint8)
    label_map[:3], label_map[9] = 1, 255
    perfect = pixel_histograms((label_map == 1).astype(float), label_map, THRESHOLDS)
    assert perfect.foreground.sum() == 30 and perfect.background.sum() == 60
    assert pixel_average_precision(perfect) == pytest.approx(100)
    assert best_pixel_iou(perfect, THRESHOLDS) == (100, pytest.approx(0.1))
    constant = pixel_histograms(np.full((10, 10), 0.35), label_map, THRESHOLDS)
    assert pixel_average_precision(constant) == pytest.approx(100 * 30 / 90)
    assert best_pixel_iou(constant, THRESHOLDS) == (pytest.approx(100 * 30 / 90), 0)


def test_average_precision_by_hand():
    # Score 0.9 on one foreground and one background pixel, score 0.1 on one foreground pixel.
    label_map = np.array([[1, 0, 1]], np.uint8)
    histograms = pixel_histograms(np.array([[0.95, 0.95, 0.15]]), label_map, THRESHOLDS)
    assert pixel_average_precision(histograms) == pytest.approx(100 * (0.5 * 0.5 + 2 / 3 * 0.5))


def test_scores_on_an_edge_belong_to_the_upper_bin():
    histograms = pixel_histograms(THRESHOLDS[None], np.ones((1, 10), np.uint8), THRESHOLDS)
    assert histograms.foreground.tolist() == [1] * 10 + [0, 0]


def test_histogram_errors():
    with pytest.raises(ValueError, match='shape'):
        pixel_histograms(np.zeros((2, 2)), np.zeros((2, 3), np.uint8), THRESHOLDS)
    for bad in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match='score: expected values in'):
            pixel_histograms(np.full((1, 1), bad), np.ones((1, 1), np.uint8), THRESHOLDS)
    with pytest.raises(ValueError, match='masks: expected foreground pixels'):
        pixel_average_precision(PixelHistograms(np.zeros(12, int), np.ones(12, int)))
