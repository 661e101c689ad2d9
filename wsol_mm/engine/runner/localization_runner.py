"""MMEngine's runner, with checkpoints that are written whole and resumed as far as they read."""

from pathlib import Path
from typing import Any

from wsol_mm.engine.training_checkpoints import check_resumable, newest_checkpoint
from wsol_mm.registry import RUNNERS
from wsol_mm.utils.checkpoint_io import read_checkpoint
from wsol_mm.utils.whole_files import whole_file

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.runner import EpochBasedTrainLoop, Runner


@RUNNERS.register_module()
class LocalizationRunner(Runner):
    """Runner of trainings and tests.

    A checkpoint takes the place of the former one when all of it is on the disk. ``resume`` without a file
    takes the newest checkpoint in the work directory that reads.
    """

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
                f'{self.work_dir}: expected a checkpoint that can be resumed, got {len(skipped)} that cannot: '
                f'{skipped[0]}'
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

    def _compare_length(self, filename: str, meta: Any) -> None:
        """Refuse what is beyond the end of this training; say so where the length has changed, or all is done."""
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
        """
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
                'room, and go on with --resume',
                str(path),
            ) from error
