"""Numbers for the log, fetched from the device when they are logged."""

from collections.abc import Mapping, Sequence
from typing import Any

from wsol_mm.engine.growing_history import let_histories_grow
from wsol_mm.engine.optimizers.grouped_constructor import GradientClipping
from wsol_mm.registry import HOOKS

import torch
from mmengine import hooks
from mmengine.hooks import LoggerHook
from mmengine.runner import Runner
from torch import Tensor

# So many steps are fetched at least, whatever the interval of the log.
_MOST_STEPS = 500


# Under the name of its base, which is one of MMEngine's default hooks.
@HOOKS.register_module()
class RuntimeInfoHook(hooks.RuntimeInfoHook):
    """MMEngine's ``RuntimeInfoHook``, for whose log the host does not wait for the device in every step.

    Losses and other outputs of a step, and the norm of its gradients, wait on the device until a
    ``LoggerHook`` logs, an epoch ends, or a checkpoint is saved. The numbers are the same. A hook that reads
    them between two logs calls ``runner.call_hook('fetch_log_values')`` first.
    """

    def __init__(self) -> None:
        self._waiting: list[dict[str, Any]] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Keep the outputs of a step, and fetch all that wait if they are logged now.

        Args:
            runner: The runner.
            batch_idx: Of the step, in its epoch.
            data_batch: Not used.
            outputs: Numbers by name.
        """
        clipping = getattr(runner.optim_wrapper, 'clip_func', None)
        norm = clipping.take_norm() if isinstance(clipping, GradientClipping) else None
        values = {} if norm is None else {runner.optim_wrapper.grad_name: norm}
        for name, value in (outputs or {}).items():
            values[name] = value.detach() if isinstance(value, Tensor) else value
        self._waiting.append(values)
        is_logged = any(
            isinstance(hook, LoggerHook) and self.every_n_inner_iters(batch_idx, hook.interval)
            for hook in runner.hooks
        )
        is_last = self.end_of_epoch(runner.train_dataloader, batch_idx)
        if is_logged or is_last or len(self._waiting) >= _MOST_STEPS:
            self.fetch_log_values(runner)

    def fetch_log_values(self, runner: Runner) -> None:
        """Give what waits to the message hub; the host waits for the device once."""
        waiting, self._waiting = self._waiting, []
        for values in _on_host(waiting):
            for name, value in values.items():
                runner.message_hub.update_scalar(f'train/{name}', value)
        let_histories_grow(runner.message_hub)


def _on_host(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the same with numbers in place of tensors, which travel together."""
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for values in steps:
        for value in values.values():
            if isinstance(value, Tensor):
                kinds.setdefault((value.dtype, value.device), []).append(value.reshape(()))
    numbers = {kind: iter(torch.stack(values).tolist()) for kind, values in kinds.items()}
    return [
        {
            name: next(numbers[value.dtype, value.device]) if isinstance(value, Tensor) else value
            for name, value in values.items()
        }
        for values in steps
    ]
