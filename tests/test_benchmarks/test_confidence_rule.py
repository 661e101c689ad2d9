"""The logistic rule of the confidence, fitted to what is known."""

import json

from benchmarks.box_confidence import (
    cross_validated,
    fit,
    fitted,
    images_of_nothing,
    parse_arguments,
    pooled,
)
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


def test_models_count_alike_whatever_their_images_and_seeds(sample):
    evidence, right = sample
    file = dict(evidence=evidence, right=right, nothing=evidence[:20])
    turned = dict(file, right=~right)
    twice = {key: np.concatenate([value, value]) for key, value in file.items()}
    rule = pooled([[file], [turned]])
    np.testing.assert_allclose(rule, pooled([[twice], [turned]]), atol=1e-8)
    np.testing.assert_allclose(rule, pooled([[file, file], [turned]]), atol=1e-8)
    assert not np.allclose(rule, pooled([[file], [file], [turned]]), atol=0.01)


def test_table_and_rule_of_files(sample, tmp_path, capsys):
    evidence, right = sample
    first = dict(
        evidence=evidence, right=right, class_score=right / 2, nothing=evidence[:4] * 0, plain=[1] * 4
    )
    np.savez(tmp_path / 'first.npz', **first)
    np.savez(tmp_path / 'second.npz', **{**first, 'class_score': 1 - right / 2})
    fit(parse_arguments(['fit', f'a={tmp_path}/first.npz+{tmp_path}/second.npz', f'b={tmp_path}/first.npz']))
    header, joined, single, *rule = capsys.readouterr().out.splitlines()
    assert joined.split()[0] == single.split()[0] == 'first' and 'transfer' in header
    # The class score is always right in one, and always wrong in the other; all else of them is equal.
    assert [row.split()[2] for row in (joined, single)] == ['0.500', '1.000']
    assert joined.split()[3:] == single.split()[3:]
    assert list(json.loads(''.join(rule))) == ['intercept', *EVIDENCE]


def test_images_of_nothing():
    images = images_of_nothing()
    assert len(images) == 88 and {image.shape for image in images} == {(224, 224, 3)}
    assert all(image.dtype == np.uint8 for image in images) and (images[0] == 0).all()
