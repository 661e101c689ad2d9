"""Tests of wsol_mm.engine.schedulers.warmup_in_cosine_lr."""

import math

from wsol_mm.engine.schedulers import WarmupInCosineLR

import pytest
import torch
from torch import nn


def make_optimizer(*rates: float) -> torch.optim.SGD:
    return torch.optim.SGD([dict(params=[nn.Parameter(torch.zeros(1))], lr=rate) for rate in rates])


def run(optimizer, scheduler, epochs: int, group: int = 0) -> list[float]:
    """Learning rate that each epoch trains with."""
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[group]['lr'])
        optimizer.step()
        scheduler.step()
    return rates


def formula(t: int, peak: float, epochs: int, warmup: int = 5) -> float:
    if t < warmup:
        return 1e-6 + t * (peak - 1e-6) / warmup
    return 1e-5 + 0.5 * (peak - 1e-5) * (1 + math.cos(math.pi * t / epochs))


@pytest.mark.parametrize(('peak', 'epochs'), [(5e-5, 80), (1e-3, 14), (1e-4, 5), (1e-4, 2)])
@pytest.mark.parametrize('late', [True, False])
def test_formula(peak, epochs, late):
    optimizer = make_optimizer(peak)
    found = run(optimizer, WarmupInCosineLR(optimizer, epochs=epochs, one_epoch_late=late), epochs)
    times = [max(epoch - 1, 0) if late else epoch for epoch in range(epochs)]
    assert found == pytest.approx([formula(t, peak, epochs) for t in times], rel=1e-12)


def test_published_rates_of_ilsvrc():
    optimizer = make_optimizer(1e-3)
    found = run(optimizer, WarmupInCosineLR(optimizer, epochs=14), 14)
    assert found[:2] == pytest.approx([1e-6, 1e-6])
    assert found[5:7] == pytest.approx([8.0e-4, 7.2e-4], rel=1e-3)
    assert found[-1] == pytest.approx(5.9e-5, rel=1e-2)
    assert max(found) == found[5]


def test_every_group_has_its_own_peak():
    optimizer = make_optimizer(1e-3, 1e-4)
    found = run(optimizer, WarmupInCosineLR(optimizer, epochs=20), 20, group=1)
    assert found == pytest.approx([formula(max(t - 1, 0), 1e-4, 20) for t in range(20)])


def test_without_warm_up_and_after_the_end():
    optimizer = make_optimizer(1.0)
    scheduler = WarmupInCosineLR(optimizer, epochs=4, warmup_epochs=0, min_lr=0.2, one_epoch_late=False)
    assert run(optimizer, scheduler, 7) == pytest.approx([1, 0.88284271, 0.6, 0.31715729, 0.2, 0.2, 0.2])


def test_resumes_in_the_middle():
    optimizer = make_optimizer(5e-5)
    scheduler = WarmupInCosineLR(optimizer, epochs=12)
    run(optimizer, scheduler, 4)
    saved = scheduler.state_dict(), optimizer.state_dict()
    expected = run(optimizer, scheduler, 8)
    again = make_optimizer(5e-5)
    resumed = WarmupInCosineLR(again, epochs=12)
    again.load_state_dict(saved[1])
    resumed.load_state_dict(saved[0])
    assert run(again, resumed, 8) == expected


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(epochs=0), 'epochs: expected an integer from 1, got 0'),
        (dict(warmup_epochs=-1), 'warmup_epochs: expected a number from 0, got -1'),
        (dict(warmup_lr=-1e-6), 'warmup_lr: expected a number from 0, got -1e-06'),
        (dict(min_lr=-1), 'min_lr: expected a number from 0, got -1'),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        WarmupInCosineLR(make_optimizer(1.0), **{**dict(epochs=10), **changes})
