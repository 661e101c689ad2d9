"""Stop a training whose loss is no number any more."""

import logging
import math
from typing import Any

from wsol_mm.registry import HOOKS
from wsol_mm.utils.all_processes import largest_of_all

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop after some steps in a row with a loss that is NaN or infinite, on whatever process.

    The step in question has changed the weights already; the last checkpoint was written before, and
    :class:`CheckpointHook` writes no weights that are not finite. Mixed precision in float16 is another case:
    its scaler leaves out a step whose gradients overflow, and lowers the scale.

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

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Look at the losses of a step.

        Raises:
            ValueError: If there have been too many that are not finite.
        """
        losses = {
            name: float(torch.as_tensor(value).detach())
            for name, value in (outputs or {}).items()
            if 'loss' in name
        }
        bad = {name: value for name, value in losses.items() if not math.isfinite(value)}
        if not largest_of_all(len(bad)):
            self._in_a_row = 0
            return
        self._in_a_row += 1
        # The sum is bad because a part is.
        parts = {name: value for name, value in bad.items() if name != 'loss'} or bad
        found = ', '.join(f'{name} = {value}' for name, value in parts.items()) or 'one in another process'
        where = f'step {runner.iter + 1} (epoch {runner.epoch + 1})'
        scaled = hasattr(runner.optim_wrapper, 'loss_scaler')
        if self._in_a_row <= (self.amp_patience if scaled else self.patience):
            print_log(f'{where}: expected a finite loss, got {found}', 'current', logging.WARNING)
            return
        last = runner.message_hub.runtime_info.get('last_ckpt')
        go_on = f'the last good checkpoint is {last}' if last else 'there is no checkpoint yet'
        raise ValueError(
            f'{where}: expected a finite loss, got {found}; {go_on}. A lower learning rate '
            '(optim_wrapper.optimizer.lr), clipped gradients (optim_wrapper.clip_grad) or a look at the data '
            'may help'
        )
