"""A loss or weights that are no numbers end a training, and no checkpoint holds them."""

import math
from types import SimpleNamespace

from tests.toy_training import Toy, in_child, make_training
from wsol_mm.engine.hooks import FiniteLossHook
from wsol_mm.engine.step_reports import StepReports
from wsol_mm.utils.checkpoint_io import read_checkpoint

import pytest
import torch
from mmengine.hooks import Hook


def scaler(is_enabled):
    return SimpleNamespace(is_enabled=lambda: is_enabled)


def runner(scaled=None, last=None):
    return SimpleNamespace(
        optim_wrapper=SimpleNamespace(**({} if scaled is None else {'loss_scaler': scaler(scaled)})),
        message_hub=SimpleNamespace(runtime_info={'last_ckpt': last} if last else {}),
    )


def report(value, part=1.0):
    losses = dict(loss=torch.tensor(value), loss_cls=torch.tensor(part), acc=torch.tensor(math.nan))
    reports = StepReports()
    reports.send('step 7 (epoch 3)', losses, 0)
    return reports.receive()[0]


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_the_first_bad_step_stops_and_is_named(value):
    hook = FiniteLossHook()
    hook.after_step_report(runner(), report(3.0))
    message = (
        rf'step 7 \(epoch 3\): expected a finite loss, got loss_cls = {value}; the last good checkpoint is '
        r'run/epoch_2.pth'
    )
    with pytest.raises(ValueError, match=message):
        hook.after_step_report(runner(last='run/epoch_2.pth'), report(value, value))
    with pytest.raises(ValueError, match=r'got loss = .*; there is no checkpoint yet'):
        FiniteLossHook().after_step_report(runner(), report(value))


@pytest.mark.parametrize(('scaled', 'allowed'), [(None, 2), (False, 2), (True, 4)])
def test_steps_in_a_row_are_counted(scaled, allowed):
    hook = FiniteLossHook(patience=2, amp_patience=4)
    for _ in range(3):
        for _ in range(allowed):
            hook.after_step_report(runner(scaled), report(math.nan))
        hook.after_step_report(runner(scaled), report(1.0))
    for _ in range(allowed):
        hook.after_step_report(runner(scaled), report(math.nan))
    with pytest.raises(ValueError, match='expected a finite loss'):
        hook.after_step_report(runner(scaled), report(math.nan))


def test_negative_patience():
    with pytest.raises(ValueError, match='amp_patience: expected an integer from 0, got -1'):
        FiniteLossHook(amp_patience=-1)


def test_another_runner_does_not_report():
    with pytest.raises(TypeError, match='runner: expected a LocalizationRunner, which reports'):
        FiniteLossHook().before_train(runner())


class Spoil(Hook):
    """Makes a weight no number after a step, as a gradient that overflows does."""

    priority = 'VERY_HIGH'

    def __init__(self, step, value=math.nan):
        self.step = step
        self.value = value

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.step:
            with torch.no_grad():
                runner.model.linear.weight[0, 2] = self.value


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_not_saved(tmp_path, capfd, value):
    """After the last step of the second epoch, whose loss was fine."""
    folder = tmp_path / 'run'
    spoilt = [Spoil(6, value)]
    assert in_child(lambda: make_training(folder, custom_hooks=spoilt).train(), quiet=False) == 1
    error = capfd.readouterr().err
    assert 'expected finite numbers, got NaN or infinity in 1 of them (linear.weight)' in error
    assert sorted(path.name for path in folder.glob('*.pth')) == ['best_toy_score_epoch_1.pth', 'epoch_1.pth']
    for path in folder.glob('*.pth'):
        assert read_checkpoint(path)['state_dict']['linear.weight'].isfinite().all()


def test_a_training_stops_in_the_step_after_weights_are_spoilt(tmp_path, capfd):
    folder = tmp_path / 'run'
    hooks = dict(finite_loss=dict(type='FiniteLossHook'))
    assert in_child(lambda: make_training(folder, hooks, custom_hooks=[Spoil(4)]).train(), quiet=False) == 1
    error = capfd.readouterr().err
    assert 'step 5 (epoch 2): expected a finite loss, got loss_fit = nan; the last good' in error
    assert f'{folder}/epoch_1.pth' in error


def test_an_infinite_mask_is_no_reason():
    from wsol_mm.utils.checkpoint_differences import non_finite

    model = Toy()
    model.register_buffer('mask', torch.tensor([0.0, -math.inf]))
    parameters = {name for name, _ in model.named_parameters()}
    assert non_finite(model.state_dict(), parameters) == []
    model.mask[0] = math.nan
    assert non_finite(model.state_dict(), parameters) == ['mask']
