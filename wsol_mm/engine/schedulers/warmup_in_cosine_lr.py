"""Cosine schedule whose warm-up is a part of it, stepped late."""

import math

from wsol_mm.registry import PARAM_SCHEDULERS

from mmengine.optim import BaseOptimWrapper
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler
from torch.optim import Optimizer


@PARAM_SCHEDULERS.register_module()
class WarmupInCosineLR(LRSchedulerMixin, _ParamScheduler):
    """Cosine decay per epoch, its first epochs replaced by a linear warm-up.

    See docs/specifications/lctr.md, section 7. With P the optimizer's learning rate and E the number of
    epochs, the rate after t epochs is::

        f(t) = warmup_lr + t * (P - warmup_lr) / warmup_epochs           for t < warmup_epochs
        f(t) = min_lr + (P - min_lr) * (1 + cos(pi * t / E)) / 2         for t >= warmup_epochs

    so that the cosine has already fallen when the warm-up ends, unlike MMEngine's LinearLR followed by
    CosineAnnealingLR. The reference steps its schedule with the number of the finished epoch: 0-based
    epoch e trains with f(max(e - 1, 0)), the first two epochs with ``warmup_lr``.

    Args:
        optimizer: Whose learning rate to change.
        epochs: Number of epochs E of the whole schedule; afterwards the rate is ``min_lr``.
        warmup_epochs: Length of the warm-up, 0 for none; a training that is shorter only warms up.
        warmup_lr: Rate at its start; not scaled with P.
        min_lr: Rate at the end of the cosine; not scaled with P.
        one_epoch_late: Whether epoch e trains with f(max(e - 1, 0)), as in the reference, or with f(e).
        begin: Number of epochs before the scheduler starts.
        end: Number of epochs after which it stops.
        last_step: For resuming without a state dict; -1 to start.
        by_epoch: True, or False to count iterations instead of epochs throughout.
        verbose: Whether to print every new rate.

    Raises:
        ValueError: If ``epochs`` is not positive, or ``warmup_epochs`` or a rate negative.
    """

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        epochs: int,
        warmup_epochs: int = 5,
        warmup_lr: float = 1e-6,
        min_lr: float = 1e-5,
        one_epoch_late: bool = True,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        if epochs < 1:
            raise ValueError(f'epochs: expected an integer from 1, got {epochs}')
        for name, value in (('warmup_epochs', warmup_epochs), ('warmup_lr', warmup_lr), ('min_lr', min_lr)):
            if value < 0:
                raise ValueError(f'{name}: expected a number from 0, got {value}')
        self.epochs = epochs
        self.warmup_epochs = warmup_epochs
        self.warmup_lr = warmup_lr
        self.min_lr = min_lr
        self.one_epoch_late = one_epoch_late
        super().__init__(
            optimizer, begin=begin, end=end, last_step=last_step, by_epoch=by_epoch, verbose=verbose
        )

    def _get_value(self) -> list[float]:
        finished = max(self.last_step - 1, 0) if self.one_epoch_late else self.last_step
        return [self._rate(finished, peak) for peak in self.base_values]

    def _rate(self, finished: int, peak: float) -> float:
        if finished < self.warmup_epochs:
            return self.warmup_lr + finished * (peak - self.warmup_lr) / self.warmup_epochs
        phase = math.pi * min(finished, self.epochs) / self.epochs
        return self.min_lr + 0.5 * (peak - self.min_lr) * (1 + math.cos(phase))
