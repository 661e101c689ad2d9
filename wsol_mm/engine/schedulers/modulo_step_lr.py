"""Learning rate that drops at every multiple of an epoch."""

from collections.abc import Sequence
from typing import Any

from wsol_mm.registry import PARAM_SCHEDULERS

from mmengine.optim import BaseOptimWrapper
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler
from torch.optim import Optimizer


@PARAM_SCHEDULERS.register_module()
class ModuloStepLR(LRSchedulerMixin, _ParamScheduler):
    """Multiply the learning rate by ``gamma`` in every epoch that is a multiple of one of ``steps``.

    Epochs count from 1, and an epoch that is a multiple of several steps drops once. Unlike MultiStepLR
    a step fires again and again: with ``steps=[30]`` the rate drops in epoch 30 and in epoch 60
    (docs/specifications/ts_cam.md, section 7).

    Args:
        optimizer: Whose learning rate to change.
        steps: Positive numbers of epochs.
        gamma: Factor of a drop.
        begin: Number of epochs before the scheduler starts. Epochs are still counted from the start of the
            training.
        end: Number of epochs after which it stops.
        last_step: For resuming without a state dict; -1 to start.
        by_epoch: True, or False for the same rule counted in iterations.
        verbose: Whether to print every new rate.
        epoch_length: Iterations of an epoch; 1 unless built by ``convert_to_iter_based``.

    Raises:
        ValueError: If ``steps`` is empty or not all positive integers.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        steps: Sequence[int],
        gamma: float = 0.1,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        epoch_length: int = 1,
    ) -> None:
        if not steps or any(not isinstance(step, int) or step < 1 for step in steps):
            raise ValueError(f'steps: expected integers from 1, got {steps!r}')
        self.steps = list(steps)
        self.gamma = gamma
        self.epoch_length = epoch_length
        super().__init__(
            optimizer, begin=begin, end=end, last_step=last_step, by_epoch=by_epoch, verbose=verbose
        )

    @classmethod
    def build_iter_from_epoch(
        cls,
        *args: Any,
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        **kwargs: Any,
    ) -> 'ModuloStepLR':
        """Build a scheduler that is stepped in every iteration and follows the same rule by epochs.

        Raises:
            ValueError: If ``by_epoch`` is False or ``epoch_length`` is not positive.
        """
        if not by_epoch:
            raise ValueError('by_epoch: expected True for a conversion to iterations, got False')
        if epoch_length is None or epoch_length < 1:
            raise ValueError(f'epoch_length: expected an integer from 1, got {epoch_length}')
        return cls(  # type: ignore[misc]  # the steps are the only positional argument
            *args,
            begin=begin * epoch_length,
            end=end if end == INF else end * epoch_length,
            by_epoch=False,
            epoch_length=epoch_length,
            **kwargs,
        )

    def _get_value(self) -> list[float]:
        # `last_step` counts from `begin`; at the start of 1-based epoch e, e - 1 epochs are complete.
        complete, rest = divmod(self.begin + self.last_step, self.epoch_length)
        epoch = complete + 1
        drops = rest == 0 and any(epoch % step == 0 for step in self.steps)
        factor = self.gamma if drops else 1.0
        return [group[self.param_name] * factor for group in self.optimizer.param_groups]
