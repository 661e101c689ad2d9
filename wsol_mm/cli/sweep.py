"""Trainings over seeds and settings, one after the other, each in a work directory of its own."""

import hashlib
import itertools
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from wsol_mm.utils.json_text import read_json
from wsol_mm.utils.process_lock import process_lock
from wsol_mm.utils.stop_signals import StopRequest
from wsol_mm.utils.whole_files import write_json

#: In the work directory of a run: what it was trained with, and its exit status (``null``: none yet).
RECORD = 'sweep.json'
#: There, too: what the run printed, at each start.
OUTPUT = 'output.txt'
_LOCK = '.sweep.lock'
_LONGEST_NAME = 120
_POLL_S = 0.2


class SweepRun(NamedTuple):
    """A training of a sweep.

    Attributes:
        folder: Its work directory.
        arguments: Arguments of ``tools/train.py``, without the work directory.
    """

    folder: Path
    arguments: list[str]


def sweep_runs(
    config: str,
    seeds: Sequence[int],
    grid: Mapping[str, Sequence[str]],
    work_dir: Path,
    train_options: Sequence[str] = (),
) -> list[SweepRun]:
    """List the trainings of a sweep: every combination of settings, with every seed.

    Args:
        config: Path of the config.
        seeds: Seeds; without any, that of the config.
        grid: Values of each setting, as ``--cfg-options`` takes them.
        work_dir: Folder of the work directories, ``<config>[_<setting>-<value>...][_seed<N>]``.
        train_options: Options of ``tools/train.py`` for all of them.

    Returns:
        The trainings; all seeds of a combination together.
    """
    short = [key.rpartition('.')[2] for key in grid]
    names = [name if short.count(name) == 1 else key for name, key in zip(short, grid, strict=True)]
    chosen: Sequence[int | None] = seeds or [None]
    runs = []
    for values in itertools.product(*grid.values()):
        parts = [Path(config).stem, *(f'{name}-{value}' for name, value in zip(names, values, strict=True))]
        settings = [f'{key}={value}' for key, value in zip(grid, values, strict=True)]
        options = ['--cfg-options', *settings] if settings else []
        for seed in chosen:
            folder = work_dir / _folder_name('_'.join(parts), seed)
            seeding = [] if seed is None else ['--seed', str(seed)]
            runs.append(SweepRun(folder, [config, *seeding, *train_options, *options]))
    return runs


def _folder_name(text: str, seed: int | None) -> str:
    """Make the name of a folder, of which different texts have different ones."""
    name = re.sub(r'[^\w.+-]', '-', text)[:_LONGEST_NAME]
    if name != text:
        name += f'-{hashlib.sha256(text.encode()).hexdigest()[:8]}'
    return name if seed is None else f'{name}_seed{seed}'


def train_command(run: SweepRun, tools: Path, processes: int | None, resume: bool) -> list[str]:
    """Return the command of a training.

    Args:
        run: The training.
        tools: The folder of ``train.py`` and ``dist_train.sh``.
        processes: Number of processes; none but itself if None.
        resume: Whether it goes on from a checkpoint.

    Returns:
        Program and arguments.
    """
    config, *options = run.arguments
    start = [sys.executable, str(tools / 'train.py'), config]
    if processes is not None:
        start = ['bash', str(tools / 'dist_train.sh'), config, str(processes)]
    return [*start, '--work-dir', str(run.folder), *options, *(['--resume'] if resume else [])]


def has_checkpoint(folder: Path) -> bool:
    """Tell whether a training in this folder can go on; the best checkpoints are weights alone."""
    return any(not path.name.startswith(('.', 'best_')) for path in folder.glob('*.pth'))


def read_record(run: SweepRun, processes: int | None) -> dict[str, Any]:
    """Read what a former sweep noted of a training.

    Args:
        run: The training.
        processes: Number of processes.

    Returns:
        ``arguments``, ``processes``, and ``status``: 0 if it is finished.

    Raises:
        ValueError: If its folder holds a training of other arguments.
    """
    record: dict[str, Any] = {'arguments': run.arguments, 'processes': processes, 'status': None}
    path = run.folder / RECORD
    if not path.exists():
        if has_checkpoint(run.folder):
            raise ValueError(f'{path}: expected the note of a sweep beside the checkpoints there, got none')
        return record
    found = read_json(path)
    asked = {key: record[key] for key in ('arguments', 'processes')}
    if not isinstance(found, dict) or {key: found.get(key) for key in asked} != asked:
        raise ValueError(
            f'{path}: expected a training with {asked}, got {str(found)[:500]}. Another --work-dir keeps both'
        )
    return found


class RunEnd(NamedTuple):
    """How a training of a sweep ended.

    Attributes:
        status: Exit status; 0 too if it was finished before, None if another process is at it.
        text: What to print.
    """

    status: int | None
    text: str


def run_sweep(
    runs: Iterable[SweepRun], tools: Path, processes: int | None, request: StopRequest
) -> Iterator[tuple[SweepRun, RunEnd]]:
    """Train, one after the other; what fails does not stop the others.

    Args:
        runs: The trainings.
        tools: The folder of ``train.py`` and ``dist_train.sh``.
        processes: Number of processes of each; none but itself if None.
        request: Whether to stop; it is passed on to the training at work, which saves a checkpoint.

    Yields:
        Every training that was looked at, with how it ended.
    """
    for run in runs:
        if request.number:
            return
        run.folder.mkdir(parents=True, exist_ok=True)
        try:
            with process_lock(run.folder / _LOCK):
                end = _run(run, tools, processes, request)
        except BlockingIOError:
            end = RunEnd(None, 'another process is at it')
        yield run, end


def _run(run: SweepRun, tools: Path, processes: int | None, request: StopRequest) -> RunEnd:
    record = read_record(run, processes)
    if record['status'] == 0:
        return RunEnd(0, 'finished before')
    resume = has_checkpoint(run.folder)
    write_json(run.folder / RECORD, record)
    start = time.monotonic()
    with open(run.folder / OUTPUT, 'ab') as output:
        before = output.tell()
        status = _train(train_command(run, tools, processes, resume), output, request)
    write_json(run.folder / RECORD, record | {'status': status})
    minutes = f'{(time.monotonic() - start) / 60:.1f} min{", resumed" if resume else ""}'
    if status == 0:
        return RunEnd(0, f'finished in {minutes}')
    return RunEnd(status, f'status {status} after {minutes}: {_last_line(run.folder / OUTPUT, before)}')


def _train(command: Sequence[str], output: IO[bytes], request: StopRequest) -> int:
    """Run a training, which is stopped when the sweep is; return its exit status."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output) as process:
        stop: int = signal.SIGTERM  # after an error
        try:
            while process.poll() is None:
                if request.number:
                    stop = request.number
                    break
                time.sleep(_POLL_S)
        finally:
            if process.poll() is None:
                process.send_signal(stop)
    return process.returncode


def _last_line(path: Path, before: int) -> str:
    """Return the last line behind a number of bytes that were there before."""
    lines = path.read_bytes()[before:].decode(errors='replace').split('\n')
    return next((line.strip() for line in reversed(lines) if line.strip()), 'it printed nothing')
