"""Tests of wsol_mm.engine.hooks.BestPartsHook."""

from types import SimpleNamespace

from wsol_mm.engine.hooks import BestPartsHook

import pytest
import torch
from mmengine.logging import MMLogger
from torch import nn

PARTS = {'boxes': ('regions.',), 'Top-1_Cls': ('classifier.',)}


@pytest.fixture
def runner(tmp_path):
    model = nn.ModuleDict(
        dict(regions=nn.BatchNorm1d(1), classifier=nn.Linear(1, 1), backbone=nn.Linear(1, 1))
    )
    saved = {}
    return SimpleNamespace(
        model=model,
        logger=MMLogger.get_current_instance(),
        work_dir=str(tmp_path),
        _resume=False,
        _train_loop=True,
        train_loop=SimpleNamespace(stop_training=False),
        saved=saved,
        save_checkpoint=lambda folder, name, **_: saved.update(
            {name: {key: value.clone() for key, value in model.state_dict().items()}}
        ),
    )


def epoch(hook, runner, number, boxes, accuracy):
    """Train the parts to the number of an epoch and validate them."""
    with torch.no_grad():
        for parameter in runner.model.parameters():
            parameter.fill_(number)
        runner.model.regions.running_mean.fill_(number)
    hook.after_val_epoch(runner, {'boxes': boxes, 'Top-1_Cls': accuracy})


def test_parts_come_from_different_epochs(runner):
    hook = BestPartsHook(PARTS)
    hook.before_train(runner)
    for number, (boxes, accuracy) in enumerate([(50, 60), (70, 65), (60, 80), (70, 70)], start=1):
        epoch(hook, runner, number, boxes, accuracy)
    hook.after_train(runner)
    best = runner.saved['best_parts.pth']
    assert best['regions.weight'] == best['regions.running_mean'] == 2  # the first of two equal ones
    assert best['classifier.weight'] == 3
    assert best['backbone.weight'] == 4


def test_it_stops_by_the_published_counter(runner):
    hook = BestPartsHook(PARTS, patience=3)
    counters = []
    for boxes, accuracy in [(50, 50), (40, 60), (40, 40), (60, 40), (50, 70), (50, 60), (50, 60)]:
        epoch(hook, runner, 1, boxes, accuracy)
        counters.append(hook.counter)
        assert runner.train_loop.stop_training == (hook.counter == 3)
    # An epoch in which only the classifier improves leaves the counter at 1.
    assert counters == [0, 1, 2, 0, 1, 2, 3]


def test_a_resumed_training_chooses_as_an_undisturbed_one(runner):
    hook, checkpoint = BestPartsHook(PARTS), {}
    epoch(hook, runner, 1, 90, 90)
    epoch(hook, runner, 2, 80, 80)
    hook.before_save_checkpoint(runner, checkpoint)
    other = BestPartsHook(PARTS)
    other.after_load_checkpoint(runner, checkpoint)
    assert not other.kept  # a test loads weights alone
    runner._resume = True
    other.after_load_checkpoint(runner, checkpoint)
    epoch(other, runner, 3, 85, 85)
    assert other.counter == 2
    other.after_train(runner)
    assert runner.saved['best_parts.pth']['regions.weight'] == 1


def test_errors(runner):
    with pytest.raises(ValueError, match='patience: expected an integer from 1, got 0'):
        BestPartsHook(PARTS, patience=0)
    with pytest.raises(ValueError, match=r"parts\['boxes'\]: expected beginnings of names, got 'region_'"):
        BestPartsHook({'boxes': ('region_',)}).before_train(runner)
    with pytest.raises(ValueError, match=r"expected metrics of the validation, \['loss'\], got 'boxes'"):
        BestPartsHook(PARTS).after_val_epoch(runner, {'loss': 1.0})
