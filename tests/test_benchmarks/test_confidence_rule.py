"""The logistic rule of the confidence, fitted to what is known."""

from benchmarks.box_confidence import cross_validated, fitted, images_of_nothing, pooled
from wsol_mm.evaluation.functional.box_confidence import EVIDENCE

import numpy as np
import pytest


@pytest.fixture
def sample():
    """Evidence, of which the second kind alone decides, and which boxes are right."""
    generator = np.random.default_rng(0)
    evidence = generator.normal(3, 2, (4000, len(EVIDENCE)))
    odds = 2 * (evidence[:, 1] - 3) + 1
    return evidence, generator.random(4000) < 1 / (1 + np.exp(-odds))


def test_a_known_rule_is_found(sample):
    evidence, right = sample
    intercept, *weights = fitted(evidence, right, np.ones(len(right)))
    # The penalty draws the coefficients a little to 0.
    assert 1.2 < weights[1] < 2 and np.abs(np.delete(weights, 1)).max() < 0.1
    assert intercept + 3 * sum(weights) == pytest.approx(1, abs=0.3)
    odds = cross_validated(evidence, right)
    assert np.mean((odds > 0) == right) > 0.85


def test_files_count_alike_whatever_their_size(sample):
    evidence, right = sample
    file = dict(evidence=evidence, right=right, nothing=evidence[:20])
    turned = dict(file, right=~right)
    twice = {key: np.concatenate([value, value]) for key, value in file.items()}
    np.testing.assert_allclose(pooled([file, turned]), pooled([twice, turned]), atol=1e-8)


def test_images_of_nothing():
    images = images_of_nothing()
    assert len(images) == 88 and {image.shape for image in images} == {(224, 224, 3)}
    assert all(image.dtype == np.uint8 for image in images) and (images[0] == 0).all()
