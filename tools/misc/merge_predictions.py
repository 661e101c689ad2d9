"""Put the shards of a prediction together: the annotations of a single process, byte for byte.

The exit status is 0, or 3 if some images cannot be used; these are listed in <OUT>.broken.txt.
"""

import argparse
from pathlib import Path

from wsol_mm.cli.argument_types import new_output
from wsol_mm.cli.prediction_summary import BROKEN_STATUS, print_summary
from wsol_mm.cli.runner_options import RunnerArgumentParser, one_line_errors


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    parser.add_argument('out', type=new_output, help='file or folder to write, as predict.py --out was told')
    parser.add_argument(
        '--shards',
        type=Path,
        nargs='+',
        default=(),
        metavar='DIR',
        help='folders of the shards, if they were gathered elsewhere (default: <OUT>.shards/*-of-*)',
    )
    return parser.parse_args(arguments)


@one_line_errors()
def main() -> None:
    """Merge, and say what came out."""
    args = parse_arguments()
    from wsol_mm.apis.prediction_shards import merge_shards

    summary = merge_shards(args.out, args.shards)
    print_summary(summary, args.out)
    if summary.num_broken:
        raise SystemExit(BROKEN_STATUS)


if __name__ == '__main__':
    main()
