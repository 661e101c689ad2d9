"""Tests of wsol_mm.engine.schedulers."""

from wsol_mm.engine.schedulers import ModuloStepLR
from wsol_mm.registry import MODELS, PARAM_SCHEDULERS

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn


def make_optimizer(lr: float = 1.0) -> torch.optim.SGD:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)


def run(optimizer, scheduler, steps: int) -> list[float]:
    """Learning rate that each step trains with."""
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    return rates


def modulo_rule(steps: list[int], epochs: int, lr: float = 1.0, gamma: float = 0.1) -> list[float]:
    rates = []
    for epoch in range(1, epochs + 1):
        if any(epoch % step == 0 for step in steps):
            lr *= gamma
        rates.append(lr)
    return rates


@pytest.mark.parametrize('steps', [[30], [10, 12], [3, 4], [1], [2, 1], [7, 7]])
def test_follows_the_modulo_rule(steps):
    optimizer = make_optimizer()
    scheduler = ModuloStepLR(optimizer, steps=steps)
    assert run(optimizer, scheduler, 61) == pytest.approx(modulo_rule(steps, 61), rel=1e-12)


def test_published_schedules():
    optimizer = make_optimizer(5e-5)
    rates = run(optimizer, ModuloStepLR(optimizer, steps=[30], end=60), 60)
    assert rates == pytest.approx([5e-5] * 29 + [5e-6] * 30 + [5e-7])
    optimizer = make_optimizer(5e-4)
    rates = run(optimizer, ModuloStepLR(optimizer, steps=[10, 12], end=20), 20)
    assert rates == pytest.approx([5e-4] * 9 + [5e-5] * 2 + [5e-6] * 8 + [5e-7])


def test_gamma_and_end():
    optimizer = make_optimizer()
    rates = run(optimizer, ModuloStepLR(optimizer, steps=[2], gamma=0.5, end=5), 8)
    assert rates == [1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25]


def test_begin_counts_epochs_from_the_start_of_training():
    optimizer = make_optimizer()
    scheduler = ModuloStepLR(optimizer, steps=[3], begin=4)
    assert run(optimizer, scheduler, 9) == pytest.approx([1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01])


def test_resumes_in_the_middle():
    optimizer = make_optimizer()
    scheduler = ModuloStepLR(optimizer, steps=[3, 4])
    expected = run(optimizer, scheduler, 5)
    saved = scheduler.state_dict(), optimizer.state_dict()
    expected += run(optimizer, scheduler, 8)
    again = make_optimizer()
    resumed = ModuloStepLR(again, steps=[3, 4])
    again.load_state_dict(saved[1])
    resumed.load_state_dict(saved[0])
    assert expected[5:] == run(again, resumed, 8)
    assert expected == pytest.approx(modulo_rule([3, 4], 13))


@pytest.mark.parametrize('end', [None, 6])
def test_converted_to_iterations(end):
    optimizer = make_optimizer()
    scheduler = PARAM_SCHEDULERS.build(
        dict(
            type='ModuloStepLR',
            optimizer=optimizer,
            steps=[1, 4],
            convert_to_iter_based=True,
            epoch_length=5,
            **({} if end is None else dict(end=end)),
        )
    )
    rates = run(optimizer, scheduler, 40)
    last = modulo_rule([1], 6 if end else 8)
    expected = [rate for rate in last for _ in range(5)] + [last[-1]] * (10 if end else 0)
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize('steps', [[], [0], [3, -1], [2.5]])
def test_wrong_steps_are_named(steps):
    with pytest.raises(ValueError, match='steps: expected integers from 1, got'):
        ModuloStepLR(make_optimizer(), steps=steps)


def test_wrong_conversions_are_refused():
    with pytest.raises(ValueError, match='by_epoch: expected True'):
        ModuloStepLR.build_iter_from_epoch(make_optimizer(), steps=[1], by_epoch=False, epoch_length=2)
    with pytest.raises(ValueError, match='epoch_length: expected an integer from 1, got None'):
        ModuloStepLR.build_iter_from_epoch(make_optimizer(), steps=[1])


@pytest.mark.parametrize('hybrid', [False, True])
def test_only_matrices_decay(hybrid):
    """The ``paramwise_cfg`` of the configs, with the groups of the reference optimizer."""
    if hybrid:
        arch = dict(embed_dims=24, depths=3, num_heads=2, channel_ratio=0.25)
        backbone, head = dict(type='TokenConformer', arch=arch), dict(conv_channels=64)
    else:
        arch = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48)
        backbone, head = dict(type='TokenVisionTransformer', arch=arch, img_size=32), {}
    model = MODELS.build(
        dict(
            type='ImageLocalizer',
            backbone=backbone,
            head=dict(type='TSCAMHead', num_classes=5, in_channels=24, **head),
        )
    )
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
            paramwise_cfg=dict(
                flat_decay_mult=0.0,
                custom_keys={'cls_token': dict(decay_mult=0.0), 'pos_embed': dict(decay_mult=0.0)},
            ),
        ),
    )
    decay = {
        id(p): group['weight_decay'] for group in wrapper.optimizer.param_groups for p in group['params']
    }
    assert len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        exempt = parameter.dim() == 1 or name in ('backbone.cls_token', 'backbone.pos_embed')
        assert decay[id(parameter)] == (0.0 if exempt else 0.05), name
