"""How well a confidence tells right from wrong, against numbers by hand."""

from wsol_mm.evaluation.functional.ranking import auroc, least_certain, reliability

import numpy as np
import pytest


def test_auroc_counts_pairs_and_halves_ties():
    confidence = np.array([0.9, 0.4, 0.4, 0.1])
    right = np.array([True, True, False, False])
    # Of the four pairs three are in order, and one is equal.
    assert auroc(confidence, right) == pytest.approx(3.5 / 4)
    assert auroc(confidence, ~right) == pytest.approx(0.5 / 4)
    assert np.isnan(auroc(confidence, np.ones(4, bool)))


def test_least_certain_come_first_and_are_rounded_up():
    assert least_certain(np.array([0.5, 0.1, 0.9, 0.1]), 0.5).tolist() == [1, 3]
    assert least_certain(np.array([0.5, 0.1, 0.9]), 0.1).tolist() == [1]


def test_reliability():
    bins = reliability(np.array([0.1, 0.3, 0.9, 1.0]), np.array([False, True, True, True]), bins=2)
    np.testing.assert_allclose(bins.confidence, [0.2, 0.95])
    np.testing.assert_allclose(bins.accuracy, [0.5, 1])
    assert bins.count.tolist() == [2, 2] and bins.calibration_error == pytest.approx((0.3 + 0.05) / 2)
    empty = reliability(np.array([0.9]), np.array([True]), bins=2)
    assert np.isnan(empty.accuracy[0]) and empty.calibration_error == pytest.approx(0.1)
