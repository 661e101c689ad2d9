"""Save checkpoints so that none is lost: an old one goes after the new one stands."""

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsol_mm.engine.training_checkpoints import INTERRUPTED, note_validation
from wsol_mm.registry import HOOKS
from wsol_mm.utils.checkpoint_differences import non_finite
from wsol_mm.utils.model_wrappers import unwrapped
from wsol_mm.utils.whole_files import remove_partial_files, write_whole

from mmengine import hooks
from mmengine.dist import is_main_process
from mmengine.runner import Runner

# Where the message hub keeps names of files that are to be removed.
_OUTDATED = 'outdated_ckpts'


class _LaterRemoval:
    """A file backend of MMEngine whose removals wait."""

    def __init__(self, backend: Any, remove: Callable[[str], None]) -> None:
        self._backend = backend
        self.remove = remove

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


# Under the name of its base, for every config that has one: none shall lose checkpoints.
@HOOKS.register_module()
class CheckpointHook(hooks.CheckpointHook):
    """MMEngine's ``CheckpointHook`` (same arguments), of which every interruption leaves whole files.

    - A checkpoint that is one too many is removed after its successor stands, and the best one, too.
    - ``last_checkpoint`` is never half written.
    - Weights that are not finite are not saved, neither as the last nor as the best ones.
    - The best checkpoint is found again after the folder was moved.

    Whole files are the matter of :class:`LocalizationRunner`.
    """

    # Of the base class.
    file_backend: Any
    best_ckpt_path: str | None
    best_ckpt_path_dict: dict[str, str | None]

    def before_train(self, runner: Runner) -> None:
        """Prepare the folder, and remove what a killed run has left half written.

        Raises:
            ValueError: If ``save_best`` is a metric that the validation does not have.
        """
        self._check_save_best(runner)
        super().before_train(runner)
        if is_main_process() and Path(self.out_dir).is_dir():
            remove_partial_files(Path(self.out_dir))
        # What MMEngine forgets: a validation that is made up for saves this checkpoint anew.
        if runner.iter and 'last_ckpt' in runner.message_hub.runtime_info:
            self.last_ckpt = self._moved_here(runner.message_hub.get_info('last_ckpt'))
        if self.save_best is not None and len(self.key_indicators) == 1:
            self.best_ckpt_path = self._moved_here(self.best_ckpt_path)
        elif self.save_best is not None:
            paths = self.best_ckpt_path_dict
            self.best_ckpt_path_dict = {key: self._moved_here(path) for key, path in paths.items()}
        self._remove_outdated(runner)

    def _check_save_best(self, runner: Runner) -> None:
        """Look for the metrics of ``save_best`` among those of the validation, if all of these are known."""
        if not self.save_best or self.save_best == ['auto'] or runner.val_loop is None:
            return
        metrics = runner.val_loop.evaluator.metrics
        if not all(hasattr(metric, 'metric_names') for metric in metrics):
            return
        names = sorted({name for metric in metrics for name in metric.metric_names()})
        for wanted in self.save_best:
            if wanted not in names:
                near = difflib.get_close_matches(wanted, names, n=1)
                meant = f'; did you mean {near[0]!r}?' if near else f', not one of {", ".join(names)}'
                raise ValueError(f'save_best: expected a metric of the validation, got {wanted!r}{meant}')

    def _moved_here(self, path: str | None) -> str | None:
        """Return the place of a checkpoint in the folder of today, if it is there."""
        here = None if path is None else self.file_backend.join_path(self.out_dir, Path(path).name)
        return here if here is not None and self.file_backend.isfile(here) else path

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse to save weights that are NaN, or parameters that are infinite.

        Raises:
            ValueError: If there are some; it names the first.
        """
        model = unwrapped(runner.model)
        bad = non_finite(checkpoint['state_dict'], {name for name, _ in model.named_parameters()})
        if bad:
            raise ValueError(
                f'weights after step {runner.iter}: expected finite numbers, got NaN or infinity in '
                f'{len(bad)} of them ({bad[0]}): no checkpoint is saved, and the former ones are as they were'
            )

    @contextmanager
    def _removing_later(self, runner: Runner) -> Iterator[None]:
        """Keep files until the body has ended without an error."""
        backend = self.file_backend
        self.file_backend = _LaterRemoval(backend, lambda path: self._outdate(runner, Path(path).name))
        try:
            yield
        finally:
            self.file_backend = backend
        self._remove_outdated(runner)

    def _outdate(self, runner: Runner, name: str) -> None:
        """Note that a file is to go; the next checkpoint notes it, too, for a process that resumes."""
        names = runner.message_hub.runtime_info.get(_OUTDATED, [])
        runner.message_hub.update_info(_OUTDATED, [*names, name])

    def _remove_outdated(self, runner: Runner) -> None:
        """Remove what is noted, but for files that have been written anew under the same name."""
        if isinstance(self.file_backend, _LaterRemoval):
            return
        names = runner.message_hub.runtime_info.get(_OUTDATED, [])
        bests = (getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values())
        kept = {Path(path).name for path in (*bests, self.last_ckpt) if path is not None}
        for name in names:
            path = self.file_backend.join_path(self.out_dir, name)
            if name not in kept and is_main_process() and self.file_backend.isfile(path):
                self.file_backend.remove(path)
        runner.message_hub.update_info(_OUTDATED, [])

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save a checkpoint, then ``last_checkpoint``, then remove the one that is too many."""
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                self._outdate(runner, self.filename_tmpl.format(self.keep_ckpt_ids.popleft()))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self._outdate(runner, INTERRUPTED)
        self.save(runner, self.filename_tmpl.format(step), meta, self.by_epoch)
        self._remove_outdated(runner)

    def save(self, runner: Runner, filename: str, meta: dict, by_epoch: bool) -> None:
        """Save a checkpoint from which the training can go on, and note it as the last.

        Args:
            runner: The runner.
            filename: Name of the file.
            meta: Of the checkpoint, with ``epoch`` and ``iter``.
            by_epoch: Whether an epoch has ended.
        """
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            filename,
            file_client_args=self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_whole(Path(runner.work_dir, 'last_checkpoint'), self.last_ckpt)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Save the best checkpoint, and note that this validation need not be made up for."""
        super().after_val_epoch(runner, metrics)
        if is_main_process():
            note_validation(Path(runner.work_dir), runner.iter)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        with self._removing_later(runner):
            super()._save_best_checkpoint(runner, metrics)
