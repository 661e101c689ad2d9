"""What runs have logged: the scalars of a training, and the metrics of a test."""

import json
from pathlib import Path
from typing import NamedTuple

from .json_text import read_json


class Run(NamedTuple):
    """What a run has logged.

    Attributes:
        name: For the legend.
        train: Records of training iterations, in order: ``epoch``, ``iter``, ``loss``, ...
        val: Records of validations: ``step`` and the metrics.
    """

    name: str
    train: list[dict]
    val: list[dict]


def find_logs(path: Path) -> list[Path]:
    """Find the files of scalars of a run.

    Args:
        path: The file itself, or the work directory with one or more starts of the run.

    Returns:
        Files by the time of their start, which is the name of their folder.

    Raises:
        ValueError: If there is none.
    """
    if path.is_file():
        return [path]
    found = [*path.glob('vis_data/scalars.json'), *path.glob('*/vis_data/scalars.json')]
    if not found:
        raise ValueError(
            f'{path}: expected the work directory of a training, or its vis_data/scalars.json, got no such '
            'file'
        )
    return sorted(found)


def read_run(path: Path, name: str | None = None) -> Run:
    """Read a run.

    Args:
        path: See :func:`find_logs`.
        name: Its name; that of the work directory if None.

    Returns:
        The records.

    Raises:
        ValueError: If there is no log, or a line of one is no JSON object.
    """
    train: dict[int, dict] = {}
    val: dict[int, dict] = {}
    for file in find_logs(path):
        for number, line in enumerate(file.read_text(encoding='utf-8').splitlines(), start=1):
            try:
                record = json.loads(line)
                step = int(record['step'])
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
                raise ValueError(
                    f'{file}, line {number}: expected a JSON object with a step, got {line[:200]!r} '
                    f'({error!r})'
                ) from error
            (train if 'iter' in record else val)[step] = record
    if name is None:
        name = (path.parents[2] if path.is_file() else path).name
    return Run(name, [train[step] for step in sorted(train)], [val[step] for step in sorted(val)])


class SavedMetrics(NamedTuple):
    """What ``tools/test.py`` has written of a test.

    Attributes:
        values: Metrics by name.
        refinement: How the maps were refined, in words; None if they were not.
    """

    values: dict[str, float]
    refinement: str | None


def read_metrics(path: Path) -> SavedMetrics:
    """Read the metrics that ``tools/test.py --out FILE.json`` wrote.

    Args:
        path: The file.

    Returns:
        The metrics; a NaN, which JSON cannot hold and is ``null`` there, is NaN again.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else.
    """
    metrics = read_json(path, 'the metrics of a test')
    if not isinstance(metrics, dict):
        raise ValueError(f'{path}: expected the metrics of a test by name, got a {type(metrics).__name__}')
    refinement = metrics.pop('refinement', None)
    if not isinstance(refinement, str | None):
        raise ValueError(f'{path}: expected a text as refinement, got {str(refinement)[:80]!r}')
    for name, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise ValueError(f'{path}: expected numbers, got {str(value)[:80]!r} for {name}')
    values = {name: float('nan') if value is None else float(value) for name, value in metrics.items()}
    return SavedMetrics(values, refinement)
