"""The rule by which float32 arrays are compared: rounding passes on any processor, and nothing else does."""

from tests.parity.comparison import close_in_double
from tests.parity.rounding import RoundedArithmetic

import numpy as np
import pytest
import torch
from torch import nn

TOLERANCE = 1e-5


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((40, 30))


def rounded(values: np.ndarray, size: float, seed: int) -> np.ndarray:
    return values + size * np.random.default_rng(seed).uniform(-1, 1, values.shape)


@pytest.mark.parametrize(
    ('stored', 'single', 'noise'),
    [(1e-6, 1e-6, 0.0), (4e-5, 2e-5, 0.0), (1e-6, 4e-5, 1e-5), (4e-5, 1e-7, 2e-5), (2e-6, 8e-6, 0.0)],
)
def test_rounding_passes(truth, stored, single, noise):
    arrays = rounded(truth, stored, 1), rounded(truth, single, 2)
    assert close_in_double('x', *arrays, truth, TOLERANCE, noise).ok


WRONG = {
    'factor': lambda values: 1.0003 * values,
    'sign': lambda values: -values,
    'term': lambda values: values - 2e-3,
    'swapped': lambda values: values[::-1].copy(),
    'one entry': lambda values: np.where(np.arange(values.size).reshape(values.shape) == 7, 0.0, values),
}


@pytest.mark.parametrize('kind', WRONG)
@pytest.mark.parametrize('where', ['both runs', 'float32', 'float64'])
@pytest.mark.parametrize('noise', [0.0, 1e-6])
def test_wrong_values_fail(truth, kind, where, noise):
    stored, single, double = rounded(truth, 1e-6, 1), rounded(truth, 1e-6, 2), truth
    if where != 'float64':
        single = WRONG[kind](single)
    if where != 'float32':
        double = WRONG[kind](double)
    assert not close_in_double('x', stored, single, double, TOLERANCE, noise).ok


@pytest.mark.parametrize('factor', [1.01, 0.99, -1.0])
def test_no_rounding_explains_a_wrong_reference(truth, factor):
    # float32 shows no digit at all
    noisy = rounded(truth, 10.0, 1)
    assert not close_in_double('x', factor * truth, noisy, truth, TOLERANCE, noise=10.0).ok


def test_other_shape_fails(truth):
    assert not close_in_double('x', truth[:, :5], truth, truth, TOLERANCE).ok


def test_rounded_arithmetic_is_like_float32():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 64))
    x = torch.randn(32, 64)

    def gradient(dtype: torch.dtype) -> torch.Tensor:
        model.to(dtype).zero_grad()
        model(x.to(dtype)).square().mean().backward()
        return model[0].weight.grad.double().clone()

    double, single = gradient(torch.float64), gradient(torch.float32)
    with RoundedArithmetic():
        emulated = gradient(torch.float64)
    with RoundedArithmetic():
        assert torch.equal(gradient(torch.float64), emulated)
    errors = [(found - double).abs().max().item() for found in (single, emulated)]
    assert 0.25 < errors[1] / errors[0] < 16
