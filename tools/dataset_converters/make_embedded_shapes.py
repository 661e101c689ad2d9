"""Write the embedded data set: ten classes of drawn objects, in the layout of CUB-200-2011."""

import argparse
import os
import sys
import time
from pathlib import Path

from wsol_mm.cli.argument_types import integer_within
from wsol_mm.cli.runner_options import RunnerArgumentParser


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options; defaults and ranges are those of ``EmbeddedShapesSpec``.
    """
    parser = RunnerArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('out', type=Path, metavar='OUT', help='folder to write')
    parser.add_argument('--seed', type=integer_within(0, 2**32 - 1), default=0, help='seed of all pictures')
    parser.add_argument(
        '--train-per-class', type=integer_within(1, 9999), default=150, metavar='N', help='training pictures'
    )
    parser.add_argument(
        '--test-per-class', type=integer_within(1, 9999), default=40, metavar='N', help='test pictures'
    )
    parser.add_argument('--size', type=integer_within(48, 1024), default=112, help='shorter side in pixels')
    parser.add_argument('--force', action='store_true', help='replace another embedded data set there')
    parser.add_argument(
        '--workers', type=int, default=min(os.cpu_count() or 1, 8), metavar='N', help='processes that draw'
    )
    args = parser.parse_args(arguments)
    if args.workers < 1:
        parser.error(f'argument --workers: expected an integer from 1, got {args.workers}')
    return args


def show_progress(done: int, total: int) -> None:
    """Say how far the drawing is: a moving line on a terminal, a line for each fifth elsewhere."""
    if sys.stderr.isatty():
        end = '\n' if done == total else ''
        print(f'\rdrawing {done}/{total} pictures', end=end, file=sys.stderr, flush=True)
    elif done * 5 // total > (done - 1) * 5 // total:
        print(f'drawing {done}/{total} pictures', file=sys.stderr, flush=True)


def main() -> None:
    """Write the set, or say that it is there."""
    args = parse_arguments()
    from wsol_mm.datasets.shapes.embedded_shapes import EmbeddedShapesSpec, write_embedded_shapes

    spec = EmbeddedShapesSpec(args.seed, args.train_per_class, args.test_per_class, args.size)
    start = time.perf_counter()
    try:
        written = write_embedded_shapes(
            args.out, spec, force=args.force, workers=args.workers, on_progress=show_progress
        )
    except FileExistsError as error:
        raise SystemExit(f'{Path(__file__).name}: error: {error} (--force replaces it)') from error
    if written:
        print(f'wrote {args.out} in {time.perf_counter() - start:.0f} s')
    else:
        print(f'{args.out} is there already')


if __name__ == '__main__':
    main()
