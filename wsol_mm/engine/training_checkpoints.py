"""Find the checkpoint from which a training goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from wsol_mm.utils.checkpoint_io import CheckpointError, read_checkpoint
from wsol_mm.utils.whole_files import write_whole

# What a training needs, and as what; a file of weights alone is no such checkpoint.
_CONTENT = {'state_dict': dict, 'meta': dict, 'message_hub': dict, 'optimizer': dict}
_MESSAGES = {'log_scalars': dict, 'runtime_info': dict, 'resumed_keys': dict}
_COUNTS = ('epoch', 'iter')
#: Checkpoint of a training that was stopped by a signal.
INTERRUPTED = 'interrupted.pth'
# Beside the checkpoints: how many steps were done before the last validation that came to its end.
_VALIDATED = 'last_validation'


class FoundCheckpoint(NamedTuple):
    """What a search has found.

    Attributes:
        path: The newest checkpoint that can be resumed; None if there is none.
        skipped: Newer files that cannot, each with the reason.
    """

    path: Path | None
    skipped: list[str]


def training_checkpoints(folder: Path) -> list[Path]:
    """List what may be checkpoints of a training in a folder: all but the best, which are weights alone."""
    return [path for path in sorted(folder.glob('*.pth')) if not path.name.startswith(('.', 'best_'))]


def newest_checkpoint(folder: Path) -> FoundCheckpoint:
    """Find the newest checkpoint that reads, by the time that it says itself.

    It is looked for in the folder, not where ``last_checkpoint`` says, which may be lost or name a place that
    was moved. Its weights are compared with the sums in the file.

    Args:
        folder: Folder of checkpoints.

    Returns:
        It, and what was skipped.
    """
    found: list[tuple[tuple[str, int], Path]] = []
    skipped = []
    for path in training_checkpoints(folder):
        try:
            meta = check_resumable(read_checkpoint(path, lazily=True), path)
            found.append(((str(meta.get('time', '')), meta['iter']), path))
        except CheckpointError as error:
            skipped.append(str(error))
    for _, path in sorted(found, reverse=True):
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            skipped.append(str(error))
        else:
            return FoundCheckpoint(path, skipped)
    return FoundCheckpoint(None, skipped)


def check_resumable(content: Mapping[str, Any], path: str | Path) -> Mapping[str, Any]:
    """Check that a checkpoint holds what a training needs to go on.

    Args:
        content: What was read.
        path: Where from.

    Returns:
        Its ``meta``.

    Raises:
        CheckpointError: If something is missing or of another type; it names the file.
    """
    _check_types(content, _CONTENT, path, '')
    _check_types(content['message_hub'], _MESSAGES, path, 'message_hub.')
    _check_types(content['meta'], dict.fromkeys(_COUNTS, int), path, 'meta.')
    for name in _COUNTS:
        if content['meta'][name] < 0:
            raise CheckpointError(
                f'{path}: expected meta.{name} to be an integer from 0, got {content["meta"][name]}'
            )
    return content['meta']


def _check_types(values: Mapping[str, Any], wanted: Mapping[str, type], path: str | Path, where: str) -> None:
    for name, kind in wanted.items():
        if not isinstance(values.get(name), kind):
            found = f'a {type(values[name]).__name__}' if name in values else 'none'
            raise CheckpointError(
                f'{path}: expected a checkpoint of a training with the {kind.__name__} {where}{name}, got '
                f'{found}'
            )


def note_validation(folder: Path, iterations: int) -> None:
    """Note in a work directory that a validation has come to its end.

    Args:
        folder: The work directory.
        iterations: Steps of training before it.
    """
    write_whole(folder / _VALIDATED, f'{iterations}\n')


def last_validation(folder: Path) -> int:
    """Return the number of steps before the last validation that came to its end; -1 if none is noted."""
    try:
        return int((folder / _VALIDATED).read_text())
    except (FileNotFoundError, ValueError):
        return -1


def forget_validations(folder: Path) -> None:
    """Remove the note of a former training in the same work directory."""
    (folder / _VALIDATED).unlink(missing_ok=True)
