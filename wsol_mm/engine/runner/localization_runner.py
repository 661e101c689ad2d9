"""MMEngine's runner, with checkpoints that are written whole and resumed as far as they read."""

import logging
import signal
from pathlib import Path
from typing import Any

from wsol_mm.engine.hooks.checkpoint_hook import CheckpointHook
from wsol_mm.engine.optimizers.regrouped_checkpoint import regroup_checkpoint
from wsol_mm.engine.step_reports import StepReports
from wsol_mm.engine.training_checkpoints import (
    INTERRUPTED,
    check_resumable,
    forget_validations,
    last_validation,
    newest_checkpoint,
)
from wsol_mm.registry import RUNNERS
from wsol_mm.utils.all_processes import largest_of_all
from wsol_mm.utils.checkpoint_io import read_checkpoint
from wsol_mm.utils.model_wrappers import unwrapped
from wsol_mm.utils.random_state import seed_generators
from wsol_mm.utils.stop_signals import StopRequest, stop_signals
from wsol_mm.utils.whole_files import whole_file

import torch
from mmengine.dist import barrier, broadcast_object_list, get_world_size, is_main_process
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from torch import nn


@RUNNERS.register_module()
class LocalizationRunner(Runner):
    """Runner of trainings and tests.

    A checkpoint takes the place of the former one when all of it is on the disk. ``resume`` without a file
    takes the newest checkpoint in the work directory that reads, validates first if a validation was cut off,
    and goes on within an epoch. All that is random in a step of training depends on the seed, the step and
    the rank alone, so that a training that was resumed ends as one that never stopped.

    SIGTERM and SIGINT stop a training after its step: ``interrupted.pth`` is saved, and the process exits
    with 128 plus the number of the signal, 143 or 130. A validation is cut off, and made up for after a
    resume.

    After a step, one collective tells all processes whether the losses are finite and a signal has come. On a
    device it is read a step later, so that the host never waits, but always before a checkpoint is saved.
    Hooks may have two more methods: ``after_step_report(runner, report)``, called with every
    :class:`StepReport`, and ``fetch_log_values(runner)``, called before what is logged is saved.
    """

    # Of the base class.
    _resume: bool
    _load_from: str | None
    _train_dataloader: Any

    _stop = StopRequest()
    # The signal that a report told of, and the one on which all processes have agreed in the same step: to
    # save a checkpoint, one of them may read a report earlier.
    _heard = _agreed = 0
    #: What is reported of the steps of this training.
    step_reports = StepReports()

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger, whose file takes names of files that are no text.

        Args:
            *args: Of MMEngine's method.
            **kwargs: Of MMEngine's method.

        Returns:
            The logger.
        """
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler) and handler.stream is not None:
                handler.errors = 'backslashreplace'  # should it be opened again
                handler.stream.reconfigure(errors=handler.errors)
        return logger

    def train(self) -> nn.Module:
        """Train; see the class on signals.

        Returns:
            The model.
        """
        self.step_reports, self._heard, self._agreed = StepReports(), 0, 0
        with stop_signals() as self._stop:
            return super().train()

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the training loop, over samples whose random part depends on their place.

        Args:
            loop: Loop or its config; ``by_epoch=True`` means :class:`EpochLoop`.

        Returns:
            The loop.
        """
        loader = self._train_dataloader
        if isinstance(loader, dict) and isinstance(loader.get('sampler'), dict):
            self._train_dataloader = {
                **loader,
                'dataset': dict(type='SeededSamples', dataset=loader['dataset'], seed=self.seed),
                'sampler': dict(type='PlacedSampler', sampler=loader['sampler']),
            }
        if isinstance(loop, dict) and loop.get('by_epoch'):
            loop = {'type': 'EpochLoop', **{key: loop[key] for key in loop if key != 'by_epoch'}}
        return super().build_train_loop(loop)

    def _maybe_compile(self, target: str) -> None:
        """Compile a step, if the config says so, without the optimizer.

        With it, every change of the learning rate would make another program.
        """
        if (
            target == 'train_step'
            and self.cfg.get('compile')
            and isinstance(self.optim_wrapper, OptimWrapper)
        ):
            update = torch.compiler.disable(self.optim_wrapper.update_params)
            self.optim_wrapper.update_params = update
        super()._maybe_compile(target)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call a method of all hooks, and do what belongs to the same moment of a training.

        Args:
            fn_name: Name of the method.
            **kwargs: Its arguments.
        """
        if fn_name == 'before_train_iter':
            seed_generators(self.seed, 'step', self.iter, self.rank)
        elif fn_name == 'after_train_iter':
            where = f'step {self.iter + 1} (epoch {self.epoch + 1})'
            self.step_reports.send(where, kwargs.get('outputs') or {}, self._stop.number)
            self._read_reports()
            self._agreed = self._heard
        elif fn_name == 'after_train_epoch':
            self._read_reports(everything=True)
            self._agreed = self._heard
            self._stop_if_agreed(self.iter)
        super().call_hook(fn_name, **kwargs)
        if fn_name == 'before_train':
            self._make_up_for_validation()
        elif fn_name == 'after_train_iter':
            self._stop_if_agreed(self.iter + 1)
        elif fn_name == 'after_val_iter' and (number := largest_of_all(self._stop.number)):
            self.logger.warning('Validation is cut off; a resumed training makes up for it')
            raise SystemExit(128 + number)

    def _read_reports(self, everything: bool = False) -> None:
        """Tell the hooks of the steps whose reports are due."""
        for report in self.step_reports.receive(everything):
            self.call_hook('after_step_report', report=report)
            self._heard = max(self._heard, report.stop)

    def _stop_if_agreed(self, steps: int) -> None:
        """Save what ``steps`` steps have made and exit, if a process of this run was sent a signal."""
        number = self._agreed if get_world_size() > 1 else self._stop.number
        if not number:
            return
        meta = dict(epoch=self.epoch, iter=steps)
        for hook in self.hooks:
            if isinstance(hook, CheckpointHook):
                hook.save(self, INTERRUPTED, meta, by_epoch=False)
                self.logger.warning(
                    f'Stopped by {signal.Signals(number).name} after step {steps}; a resumed training goes '
                    f'on from {hook.last_ckpt}'
                )
        barrier()  # a process that exits earlier has the launcher kill the one that saves
        raise SystemExit(128 + number)

    def _make_up_for_validation(self) -> None:
        """Validate, if the checkpoint that was resumed is one to be validated that was not."""
        loop, done = self.train_loop, last_validation(Path(self.work_dir))
        if not self.iter:
            if is_main_process():
                forget_validations(Path(self.work_dir))
            return
        if self.val_loop is None or done == self.iter:
            return
        if isinstance(loop, EpochBasedTrainLoop):
            if self.iter != self.epoch * len(loop.dataloader):  # within an epoch
                return
            count, end = self.epoch, self.max_epochs
        else:
            count, end = self.iter, self.max_iters
        loop._decide_current_val_interval()
        if count >= self.val_begin and (count % self.val_interval == 0 or count == end):
            self.logger.info('The validation that was cut off is made up for')
            self.val_loop.run()

    def load_or_resume(self) -> None:
        """Load or resume a checkpoint; without a file, find it.

        Raises:
            ValueError: If there are checkpoints, and none can be resumed.
        """
        if self._resume and self._load_from is None:
            self._load_from = self._find_checkpoint()
            self._resume = self._load_from is not None
        super().load_or_resume()

    def _find_checkpoint(self) -> str | None:
        """Search in the main process, for all of them; None if there is nothing to be resumed."""
        answer: list[Any] = [newest_checkpoint(Path(self.work_dir)) if is_main_process() else None]
        broadcast_object_list(answer)
        path, skipped = answer[0]
        for reason in skipped:
            self.logger.warning(f'Skipped: {reason}')
        if path is None and skipped:
            raise ValueError(
                f'{self.work_dir}: expected a checkpoint that can be resumed, got {len(skipped)} that '
                f'cannot: {skipped[0]}'
            )
        if path is None:
            self.logger.warning(f'{self.work_dir}: expected a checkpoint to resume, got none: begun anew')
            return None
        self.logger.info(f'Resumed from the newest checkpoint that reads: {path}')
        return str(path)

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resume from a checkpoint.

        Args:
            filename: File or address.
            *args: Of MMEngine's method.
            **kwargs: Of MMEngine's method.

        Raises:
            ValueError: If it lacks what a training needs, or is of a longer one.
        """
        if '://' not in str(filename):
            meta = check_resumable(read_checkpoint(filename, lazily=True), filename)
            self._compare_length(filename, meta)
        super().resume(filename, *args, **kwargs)

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> Any:
        """Load weights, and fit what else is in the file to the groups of this optimizer.

        Args:
            filename: File or address.
            *args: Of MMEngine's method.
            **kwargs: Of MMEngine's method.

        Returns:
            What the file holds.

        Raises:
            ValueError: If the groups do not fit.
        """
        checkpoint = super().load_checkpoint(filename, *args, **kwargs)
        if isinstance(self.optim_wrapper, OptimWrapper):
            regroup_checkpoint(checkpoint, self.optim_wrapper.optimizer, unwrapped(self.model))
        return checkpoint

    def _compare_length(self, filename: str, meta: Any) -> None:
        """Refuse what is beyond the end of this training; say where its length has changed, or it is done."""
        by_epoch = isinstance(self.train_loop, EpochBasedTrainLoop)
        name, length = ('epoch', self.max_epochs) if by_epoch else ('iter', self.max_iters)
        done, planned = meta[name], meta.get(f'max_{name}s', length)
        if done > length:
            raise ValueError(
                f'{filename}: expected a checkpoint of at most {length} {name}s (train_cfg.max_{name}s), got '
                f'one of {done}'
            )
        if done == length:
            self.logger.info(
                f'This training is finished: {filename} has all {length} {name}s. For more, raise '
                f'train_cfg.max_{name}s'
            )
        elif planned != length:
            self.logger.warning(
                f'{filename} is of a training of {planned} {name}s, now train_cfg.max_{name}s is {length}: '
                'the learning rate goes on as was planned then'
            )

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """Save a checkpoint, whole or not at all.

        Args:
            out_dir: Folder.
            filename: Name of the file.
            *args: Of MMEngine's method.
            **kwargs: Of MMEngine's method.

        Raises:
            OSError: If it cannot be written, with what to do; the former checkpoints are as they were.
            ValueError: If a loss that led here is not finite (:class:`FiniteLossHook`).
        """
        self._read_reports(everything=True)
        self.call_hook('fetch_log_values')
        kwargs['meta'] = {
            **(kwargs.get('meta') or {}),
            'max_epochs': self.max_epochs,
            'max_iters': self.max_iters,
        }
        if '://' in str(out_dir) or not is_main_process():
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        path = Path(out_dir, filename)
        try:
            with whole_file(path) as part:
                super().save_checkpoint(str(part.parent), part.name, *args, **kwargs)
        except OSError as error:
            raise OSError(
                error.errno,
                f'{error.strerror}: the checkpoint is not written; those in {self.work_dir} are whole. Make '
                'room, and resume the training',
                str(path),
            ) from error
