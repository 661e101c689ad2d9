"""Curves of losses and metrics over the training of one or several runs, and their mean time per iteration.

Reads what MMEngine's LocalVisBackend writes in every training: `<work dir>/<time>/vis_data/scalars.json`.
Where a run was stopped and resumed, what the later part repeats replaces the earlier.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from wsol_mm.cli.argument_types import FIGURE_SUFFIXES, output_file_of
from wsol_mm.cli.runner_options import RunnerArgumentParser, one_line_errors
from wsol_mm.utils.training_logs import Run, read_run
from wsol_mm.utils.whole_files import whole_file

import numpy as np

#: Iterations left out of the mean time by default: the first ones fill caches.
WARMUP = 10


def curve(run: Run, key: str) -> tuple[str, list[int], list[float]]:
    """Return one key of a run over its training.

    Args:
        run: The run.
        key: As in the records.

    Returns:
        What the steps are, ``'iteration'`` or ``'epoch'`` (of a validation after epochs), the steps, and the
        values.

    Raises:
        ValueError: If the run has no such key.
    """
    for records in (run.train, run.val):
        found = [record for record in records if key in record]
        if found:
            last_epoch = max((record.get('epoch', 0) for record in run.train), default=0)
            by_epoch = records is run.val and found[-1]['step'] <= last_epoch
            steps = [record['step'] for record in found]
            return 'epoch' if by_epoch else 'iteration', steps, [record[key] for record in found]
    raise ValueError(f'run {run.name!r}: expected keys out of {", ".join(available_keys(run))}, got {key!r}')


def available_keys(run: Run) -> list[str]:
    """Return the names of the curves of a run: of training, then of validation."""
    keys = {}
    for record in run.train + run.val:
        keys.update(dict.fromkeys(record))
    return [key for key in keys if key not in ('epoch', 'iter', 'step')]


def plot_curves(runs: Sequence[Run], keys: Sequence[str], path: Path) -> None:
    """Draw one panel per key, with a line per run.

    Args:
        runs: The runs.
        keys: Keys that every run has.
        path: PNG or PDF file; its folder is made.

    Raises:
        ValueError: If a run has no such key.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(keys), 3.6), layout='constrained')
    axes = figure.subplots(1, len(keys), squeeze=False)
    for axis, key in zip(axes[0], keys, strict=True):
        for run in runs:
            unit, steps, values = curve(run, key)
            axis.plot(steps, values, marker='o' if len(values) < 40 else None, markersize=3, label=run.name)
        axis.set_xlabel(unit)
        axis.set_title(key)
        axis.grid(alpha=0.3)
    axes[0, 0].legend()
    with whole_file(path) as part:
        figure.savefig(part, format=path.suffix[1:], dpi=120)


def mean_times(run: Run, warmup: int) -> dict[str, float]:
    """Return the mean time of an iteration.

    Args:
        run: The run.
        warmup: Iterations at the start that do not count.

    Returns:
        ``time`` and ``data_time`` in seconds, and ``std``, the standard deviation of the logged times, each
        of which is already a mean of some iterations. Empty if nothing was logged.
    """
    records = [record for record in run.train if record['iter'] > warmup and 'time' in record]
    if not records:
        return {}
    times = [record['time'] for record in records]
    data = [record.get('data_time', 0.0) for record in records]
    return {'time': float(np.mean(times)), 'std': float(np.std(times)), 'data_time': float(np.mean(data))}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    parser.add_argument(
        'runs', nargs='+', type=Path, metavar='RUN', help='work directories, or files scalars.json'
    )
    parser.add_argument(
        '--keys',
        nargs='+',
        metavar='KEY',
        help='curves to draw, as loss or maxboxacc/MaxBoxAcc (default: list)',
    )
    parser.add_argument(
        '--legend', nargs='+', metavar='NAME', help='names of the runs (default: the folders)'
    )
    parser.add_argument(
        '--out',
        type=output_file_of(*FIGURE_SUFFIXES),
        metavar='FILE',
        help=f'picture of the curves ({", ".join(FIGURE_SUFFIXES)})',
    )
    parser.add_argument(
        '--warmup', type=int, default=WARMUP, help=f'iterations left out of the mean time (default: {WARMUP})'
    )
    args = parser.parse_args(arguments)
    if args.legend is not None and len(args.legend) != len(args.runs):
        parser.error(
            f'argument --legend: expected a name for each run, {len(args.runs)} in all, got '
            f'{len(args.legend)}'
        )
    if (args.keys is None) != (args.out is None):
        missing, given = ('keys', 'out') if args.keys is None else ('out', 'keys')
        parser.error(f'argument --{missing}: expected beside --{given}, got none')
    return args


@one_line_errors()
def main() -> None:
    """Print times and keys, and draw what is asked for."""
    args = parse_arguments()
    runs = [
        read_run(path, name)
        for path, name in zip(args.runs, args.legend or [None] * len(args.runs), strict=True)
    ]
    for run in runs:
        times = mean_times(run, args.warmup)
        speed = 'no times'
        if times:
            speed = (
                f'{times["time"]:.3f} s per iteration (deviation {times["std"]:.3f}), '
                f'of it {times["data_time"]:.3f} s waiting for data'
            )
        print(f'{run.name}: {len(run.train)} training records, {len(run.val)} validations, {speed}')
    if args.keys is None:
        for run in runs:
            print(f'{run.name}: {", ".join(available_keys(run))}')
    else:
        plot_curves(runs, args.keys, args.out)


if __name__ == '__main__':
    main()
