"""Keep the best of several parts of a model separately, each by a metric of its own."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from wsol_mm.registry import HOOKS
from wsol_mm.utils.model_wrappers import unwrapped

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor


@HOOKS.register_module()
class BestPartsHook(Hook):
    """After every validation keep each part that is better than before; at the end put the best together.

    TriLite chooses its regions by their boxes and its classifier by its accuracy, so that the two may come
    from different epochs, and stops when the boxes no longer become better. **This looks at the boxes of the
    validation images**, which a strictly weak supervision does not have; without this hook the number of
    epochs is fixed and the last checkpoint is the result.

    A counter is set to 0 when any metric improves, and then raised by one if the first did not; training
    stops when it reaches ``patience``. Kept parts travel in the checkpoints, so that a resumed training
    chooses as an undisturbed one.

    Args:
        parts: Names of metrics to the beginnings of the names of the parameters and buffers that each
            chooses, such as ``{'Top-1_Cls': ('head.classifier.',)}``. Higher is better.
        patience: See above.
        filename: Of the checkpoint with the best parts, in the work directory.

    Raises:
        ValueError: If ``patience`` is not positive, a beginning fits no name, or validation does not report a
            metric.
    """

    #: After the data of the epoch are in the log, before the checkpoint of the epoch is written.
    priority = 'NORMAL'

    def __init__(
        self,
        parts: Mapping[str, Sequence[str]],
        patience: int = 10,
        filename: str = 'best_parts.pth',
    ) -> None:
        if patience < 1:
            raise ValueError(f'patience: expected an integer from 1, got {patience}')
        self.parts = {metric: tuple(prefixes) for metric, prefixes in parts.items()}
        self.patience = patience
        self.filename = filename
        self.scores: dict[str, float] = dict.fromkeys(self.parts, -math.inf)
        self.kept: dict[str, dict[str, Tensor]] = {}
        self.counter = 0

    def before_train(self, runner: Runner) -> None:
        """Check that every part is there."""
        names = list(unwrapped(runner.model).state_dict())
        for metric, prefixes in self.parts.items():
            for prefix in prefixes:
                if not any(name.startswith(prefix) for name in names):
                    raise ValueError(f'parts[{metric!r}]: expected beginnings of names, got {prefix!r}')

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep what became better, and stop where the first metric has not for long."""
        metrics, better = metrics or {}, []
        for metric, prefixes in self.parts.items():
            if metric not in metrics:
                raise ValueError(
                    f'parts: expected metrics of the validation, {sorted(metrics)}, got {metric!r}'
                )
            better.append(metrics[metric] > self.scores[metric])
            if better[-1]:
                self.scores[metric] = metrics[metric]
                self.kept[metric] = {
                    name: value.detach().cpu().clone()
                    for name, value in unwrapped(runner.model).state_dict().items()
                    if name.startswith(prefixes)
                }
        self.counter = 0 if any(better) else self.counter
        self.counter += not better[0]
        # A validation by itself has no training to stop.
        if self.counter >= self.patience and runner._train_loop is not None:
            runner.train_loop.stop_training = True
            first = next(iter(self.parts))
            runner.logger.info(f'{first} has not improved for {self.counter} validations: training stops')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Put what is kept into a checkpoint."""
        checkpoint['best_parts'] = dict(scores=self.scores, kept=self.kept, counter=self.counter)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take it up again from the checkpoint of a training that is resumed."""
        state = checkpoint.get('best_parts')
        if runner._resume and state is not None:
            self.scores, self.kept, self.counter = state['scores'], state['kept'], state['counter']

    def after_train(self, runner: Runner) -> None:
        """Put the best parts into the model and write it."""
        state = {name: value for kept in self.kept.values() for name, value in kept.items()}
        unwrapped(runner.model).load_state_dict(state, strict=False)
        runner.logger.info(f'Best parts, by {self.scores}: {self.filename}')
        runner.save_checkpoint(
            runner.work_dir, self.filename, save_optimizer=False, save_param_scheduler=False, by_epoch=True
        )
