"""Mean and standard deviation over seeds, for each method and metric, as Markdown, LaTeX or CSV.

The metrics of a run are those of its last validation, from the log in its work directory, or with
--metrics-file those of a test. Runs whose names differ in the seed alone, as `a_seed0` and `a_seed1`, are
one method, named `a`; so are those with the same LABEL. Tests of refined maps are a method of their own, with
the refinement in its name. The deviation is that of a sample, with n - 1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wsol_mm.cli.argument_types import integer_within, output_file_of
from wsol_mm.cli.runner_options import RunnerArgumentParser, one_line_errors
from wsol_mm.utils.run_comparison import csv_table, latex_table, markdown_table, method_name, summarize
from wsol_mm.utils.training_logs import read_metrics, read_run
from wsol_mm.utils.whole_files import write_whole

SUFFIXES = ('.md', '.tex', '.csv')
#: What a log holds beside metrics.
NO_METRICS = ('step', 'time', 'data_time')


class ComparedRun(NamedTuple):
    """The result of a run.

    Attributes:
        method: Which method it is of.
        folder: Its work directory.
        metrics: The metrics.
        step: Epoch (or iteration) of the validation; None of a test.
    """

    method: str
    folder: Path
    metrics: dict[str, float]
    step: int | None


def labelled_folder(text: str) -> tuple[str, Path]:
    """Split ``LABEL=FOLDER``; the label of a plain folder is its name without the seed.

    Args:
        text: The argument; a folder that there is, is one, whatever its name.

    Returns:
        Label and folder.
    """
    label, equals, name = text.partition('=')
    if Path(text).is_dir() or not equals:
        label, name = method_name(Path(text).resolve().name), text
    return label, Path(name)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    parser.add_argument(
        'runs', nargs='+', type=labelled_folder, metavar='[LABEL=]DIR', help='work directories'
    )
    parser.add_argument(
        '--keys', nargs='+', metavar='KEY', help='metrics, as maxboxacc/MaxBoxAcc (default: all)'
    )
    parser.add_argument(
        '--metrics-file',
        metavar='NAME',
        help='take the metrics from this file in each work directory, which tools/test.py --out wrote',
    )
    parser.add_argument(
        '--out',
        nargs='+',
        type=output_file_of(*SUFFIXES),
        default=[],
        metavar='FILE',
        help=f'write the table to these files ({", ".join(SUFFIXES)}); it is printed as Markdown',
    )
    parser.add_argument(
        '--digits',
        type=integer_within(0, 10),
        default=2,
        help='decimal places in Markdown and LaTeX (default: 2); CSV has all',
    )
    args = parser.parse_args(arguments)
    folders = [folder.resolve() for _, folder in args.runs]
    twice = [folder for folder in folders if folders.count(folder) > 1]
    if twice:
        parser.error(f'argument runs: expected each work directory once, got {twice[0]} more often')
    return args


def read_result(method: str, folder: Path, metrics_file: str | None) -> ComparedRun:
    """Read the metrics of a run.

    Args:
        method: Which method it is of.
        folder: Its work directory.
        metrics_file: Name of the file of metrics there; the log of the training if None.

    Returns:
        The result.

    Raises:
        ValueError: If the run has none, or one that is no number.
    """
    if metrics_file is not None:
        tested = read_metrics(folder / metrics_file)
        if tested.refinement is not None:
            method = f'{method} ({tested.refinement})'
        return ComparedRun(method, folder, tested.values, None)
    validations = read_run(folder).val
    if not validations:
        raise ValueError(f'{folder}: expected a training with validations, got none in its log')
    last = validations[-1]
    metrics = {key: value for key, value in last.items() if key not in NO_METRICS}
    for key, value in metrics.items():
        if not isinstance(value, int | float):
            raise ValueError(f'{folder}: expected numbers in its log, got {str(value)[:80]!r} for {key}')
    return ComparedRun(method, folder, metrics, int(last['step']))


def compared_keys(results: Sequence[ComparedRun], wanted: Sequence[str] | None) -> list[str]:
    """Return the metrics to compare: those that are wanted, or all.

    Args:
        results: The results.
        wanted: Names; None for all.

    Returns:
        Names that all runs of a method have, or none of them.

    Raises:
        ValueError: If no run has one that is wanted, or some runs of a method alone have one.
    """
    there = list(dict.fromkeys(key for result in results for key in result.metrics))
    unknown = [key for key in wanted or () if key not in there]
    if unknown:
        raise ValueError(f'argument --keys: expected some of {", ".join(there)}, got {unknown[0]!r}')
    keys = list(wanted or there)
    first: dict[str, ComparedRun] = {}
    for result in results:
        other = first.setdefault(result.method, result)
        for key in keys:
            if (key in result.metrics) != (key in other.metrics):
                lacking, having = (result, other) if key in other.metrics else (other, result)
                raise ValueError(
                    f'{lacking.folder}: expected the metrics of {having.folder}, of the same method, '
                    f'got no {key}'
                )
    return keys


def warn_of_unequal_lengths(results: Sequence[ComparedRun]) -> None:
    """Say so where runs of a method were validated after different epochs: one of them may be unfinished."""
    longest: dict[str, ComparedRun] = {}
    for result in results:
        longest[result.method] = max(result, longest.get(result.method, result), key=lambda run: run.step)
    for result in results:
        other = longest[result.method]
        if result.step != other.step:
            print(
                f'warning: {result.folder}: expected a last validation after {other.step}, as of '
                f'{other.folder}, got one after {result.step}',
                file=sys.stderr,
            )


@one_line_errors()
def main() -> None:
    """Print the table, and write it into the files."""
    args = parse_arguments()
    results = [read_result(label, folder, args.metrics_file) for label, folder in args.runs]
    keys = compared_keys(results, args.keys)
    if args.metrics_file is None:
        warn_of_unequal_lengths(results)
    methods: dict[str, list[dict[str, float]]] = {}
    for result in results:
        methods.setdefault(result.method, []).append(result.metrics)
    summaries = summarize(methods, keys)
    print(markdown_table(summaries, args.digits), end='')
    for path in args.out:
        write_whole(
            path,
            {
                '.md': lambda: markdown_table(summaries, args.digits),
                '.tex': lambda: latex_table(summaries, args.digits),
                '.csv': lambda: csv_table(summaries),
            }[path.suffix.lower()](),
        )


if __name__ == '__main__':
    main()
