"""Plot saved results of one or several runs in one figure.

threshold: box accuracy against the threshold. size: box accuracy against the size of the object. errors: why
top-1 localizations fail. A run is a file that `tools/test.py CONFIG CHECKPOINT --out FILE` wrote: predictions
(.pkl), or, for errors alone, metrics (.json).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsol_mm.cli.argument_types import FIGURE_SUFFIXES, map_threshold, output_file_of
from wsol_mm.cli.runner_options import RunnerArgumentParser, one_line_errors
from wsol_mm.evaluation.protocols import PRESETS, TUNED_ON, LocalizationProtocol, get_protocol
from wsol_mm.utils.training_logs import read_metrics
from wsol_mm.utils.whole_files import whole_file

from eval_predictions import read_predictions

if TYPE_CHECKING:
    from wsol_mm.visualization.run_statistics import RunHits

    from matplotlib.figure import Figure

#: The protocol of each plot unless one is given.
_DEFAULT_PROTOCOLS = {'threshold': 'maxboxacc', 'size': 'maxboxacc', 'errors': 'ts_cam'}


def labelled_file(text: str) -> tuple[str, Path]:
    """Split ``LABEL=FILE``; the label of a plain file is its name.

    Args:
        text: The argument.

    Returns:
        Label and file.

    Raises:
        argparse.ArgumentTypeError: If there is no such file, or it is of another type.
    """
    label, equals, name = text.partition('=')
    path = Path(name if equals else text)
    if path.suffix not in ('.pkl', '.json'):
        raise argparse.ArgumentTypeError(f"expected a .pkl or .json file, got '{path}'")
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"expected a file, got nothing at '{path}'")
    return (label if equals else path.stem), path


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('plot', choices=tuple(_DEFAULT_PROTOCOLS), help='what to plot')
    parser.add_argument('runs', nargs='+', type=labelled_file, metavar='[LABEL=]FILE', help='runs to compare')
    parser.add_argument(
        '--out',
        type=output_file_of(*FIGURE_SUFFIXES),
        required=True,
        metavar='FILE',
        help=f'figure to write ({", ".join(FIGURE_SUFFIXES)})',
    )
    parser.add_argument(
        '--protocol',
        choices=tuple(PRESETS),
        metavar='NAME',
        help='how maps become boxes (default: maxboxacc; of errors, ts_cam)',
    )
    parser.add_argument(
        '--tuned-on',
        choices=TUNED_ON,
        default='cub',
        help='data set on which the threshold of the protocol was tuned (default: cub)',
    )
    parser.add_argument(
        '--threshold',
        type=map_threshold,
        metavar='T',
        help='threshold in [0, 1) instead of that of the protocol',
    )
    parser.add_argument(
        '--iou', nargs='+', type=float, default=[0.5], metavar='LEVEL', help='IoU levels (default: 0.5)'
    )
    args = parser.parse_args(arguments)
    most = {'threshold': 4, 'size': 1, 'errors': 1}[args.plot]
    if len(args.iou) > most or not all(0 < level <= 1 for level in args.iou):
        parser.error(f'argument --iou: expected at most {most} level(s) in (0, 1], got {args.iou}')
    labels = [label for label, _ in args.runs]
    if len(set(labels)) != len(labels):
        parser.error(f'argument runs: expected different labels (LABEL=FILE), got {labels}')
    if args.plot != 'errors' and any(path.suffix == '.json' for _, path in args.runs):
        parser.error(f'argument runs: expected predictions (.pkl) to plot {args.plot}, got metrics (.json)')
    return args


def hits_of_run(path: Path, protocol: LocalizationProtocol, args: argparse.Namespace) -> RunHits:
    """Evaluate the predictions of a run.

    Args:
        path: File of predictions.
        protocol: How maps become boxes.
        args: The options.

    Returns:
        The hits, with the threshold of the options if there is one.

    Raises:
        ValueError: If the file holds something else.
    """
    from wsol_mm.visualization.run_statistics import run_hits

    hits = run_hits(read_predictions(path), protocol, args.iou)
    return hits if args.threshold is None else hits._replace(fixed_threshold=args.threshold)


def outcomes_of_run(path: Path, protocol: LocalizationProtocol, threshold: float | None) -> dict[str, float]:
    """Read the error breakdown of a run from its metrics, or count it in its predictions.

    Args:
        path: Metrics (.json) or predictions (.pkl).
        protocol: Whose breakdown.
        threshold: Another threshold than the protocol's; of predictions alone.

    Returns:
        Share of each outcome in percent.

    Raises:
        ValueError: If the metrics have no such breakdown.
    """
    from wsol_mm.evaluation.functional import OUTCOMES
    from wsol_mm.visualization.run_statistics import outcome_shares

    if path.suffix == '.pkl':
        return outcome_shares(read_predictions(path), protocol, threshold)
    if threshold is not None:
        raise ValueError(
            f'argument --threshold: expected predictions (.pkl) beside it, got the metrics {path}'
        )
    metrics = read_metrics(path).values
    keys = {outcome: f'{protocol.name}/error/{outcome}' for outcome in OUTCOMES}
    if not all(key in metrics for key in keys.values()):
        raise ValueError(f'{path}: expected {protocol.name}/error/..., got {sorted(metrics)}')
    return {outcome: metrics[key] for outcome, key in keys.items()}


def make_plot(args: argparse.Namespace) -> Figure:
    """Make the figure that the options ask for.

    Args:
        args: The options.

    Returns:
        The figure.

    Raises:
        ValueError: If a file does not hold what the plot needs.
    """
    from wsol_mm.visualization.result_plots import (
        plot_error_breakdown,
        plot_size_accuracy,
        plot_threshold_curves,
    )

    protocol = get_protocol(args.protocol or _DEFAULT_PROTOCOLS[args.plot], args.tuned_on)
    if args.plot == 'errors':
        return plot_error_breakdown(
            {label: outcomes_of_run(path, protocol, args.threshold) for label, path in args.runs}
        )
    runs = {label: hits_of_run(path, protocol, args) for label, path in args.runs}
    if args.plot == 'size':
        return plot_size_accuracy(runs, args.iou[0])
    return plot_threshold_curves(runs, args.iou)


@one_line_errors(KeyError)
def main() -> None:
    """Plot, write, and print the path."""
    args = parse_arguments()
    figure = make_plot(args)
    with whole_file(args.out) as part:
        figure.savefig(part, format=args.out.suffix[1:])
    print(args.out.resolve())


if __name__ == '__main__':
    main()
