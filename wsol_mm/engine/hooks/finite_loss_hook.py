"""Stop a training whose loss is no number any more."""

import logging
import math

from wsol_mm.engine.step_reports import StepReport
from wsol_mm.registry import HOOKS

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop after some steps in a row with a loss that is NaN or infinite, on whatever process.

    The step in question has changed the weights already, and on a device the next one, too, because the loss
    is read a step later. No checkpoint is saved before all losses that lead to it are read, and
    :class:`CheckpointHook` writes no weights that are not finite. Mixed precision in float16 is another case:
    its scaler leaves out a step whose gradients overflow, and lowers the scale.

    The losses come from :class:`LocalizationRunner`, which alone can run this hook.

    Args:
        patience: How many such steps in a row are allowed.
        amp_patience: The same, where the optimizer wrapper scales the loss.

    Raises:
        ValueError: If an argument is negative.
    """

    priority = 'NORMAL'

    def __init__(self, patience: int = 0, amp_patience: int = 10) -> None:
        for name, value in (('patience', patience), ('amp_patience', amp_patience)):
            if value < 0:
                raise ValueError(f'{name}: expected an integer from 0, got {value}')
        self.patience = patience
        self.amp_patience = amp_patience
        self._in_a_row = 0

    def before_train(self, runner: Runner) -> None:
        """Check that somebody reports.

        Raises:
            TypeError: If the runner does not.
        """
        if not hasattr(runner, 'step_reports'):
            raise TypeError(
                f'runner: expected a LocalizationRunner, which reports to FiniteLossHook, got '
                f'{type(runner).__name__}'
            )

    def after_step_report(self, runner: Runner, report: StepReport) -> None:
        """Look at the losses of a step.

        Args:
            runner: The runner.
            report: Of the step.

        Raises:
            ValueError: If there have been too many that are not finite.
        """
        if report.is_finite:
            self._in_a_row = 0
            return
        losses = {
            name: float(torch.as_tensor(value).detach())
            for name, value in report.outputs.items()
            if 'loss' in name
        }
        bad = {name: value for name, value in losses.items() if not math.isfinite(value)}
        self._in_a_row += 1
        # The sum is bad because a part is.
        parts = {name: value for name, value in bad.items() if name != 'loss'} or bad
        found = ', '.join(f'{name} = {value}' for name, value in parts.items()) or 'one in another process'
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        scaled = scaler is not None and scaler.is_enabled()
        if self._in_a_row <= (self.amp_patience if scaled else self.patience):
            print_log(f'{report.where}: expected a finite loss, got {found}', 'current', logging.WARNING)
            return
        last = runner.message_hub.runtime_info.get('last_ckpt')
        go_on = f'the last good checkpoint is {last}' if last else 'there is no checkpoint yet'
        raise ValueError(
            f'{report.where}: expected a finite loss, got {found}; {go_on}. A lower learning rate '
            '(optim_wrapper.optimizer.lr), clipped gradients (optim_wrapper.clip_grad) or a look at the data '
            'may help'
        )
