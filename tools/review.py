"""Review boxes in the browser: the least certain first, judged, corrected, and written as COCO again.

Serves a page to this machine. All that is done there is in a journal beside OUT at once, from which the same
command goes on; OUT is written when the page's Export is pressed, and when the server stops.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from wsol_mm.cli.argument_types import output_file
from wsol_mm.cli.runner_options import RunnerArgumentParser, one_line_errors
from wsol_mm.cli.server_options import add_server_options


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    parser.add_argument(
        'annotations', type=Path, help='COCO file of tools/predict.py, or of an earlier review'
    )
    parser.add_argument('folder', type=Path, help='folder of its images')
    parser.add_argument(
        '--out',
        type=output_file,
        metavar='FILE',
        help='file to write (default: ANNOTATIONS with .reviewed before .json); the journal is FILE.journal',
    )
    parser.add_argument(
        '--maps', type=Path, metavar='DIR', help='maps of tools/predict.py --save-maps, shown by the key M'
    )
    parser.add_argument(
        '--reviewer', metavar='NAME', help='under whose name changes are kept (default: the name of the user)'
    )
    parser.add_argument(
        '--export', action='store_true', help='write OUT from what has been reviewed so far, without a page'
    )
    parser.add_argument(
        '--only-right', action='store_true', help='leave images out of OUT that are not checked, or wrong'
    )
    add_server_options(parser, 8020)
    args = parser.parse_args(arguments)
    if args.out is None:
        args.out = args.annotations.with_name(f'{args.annotations.stem}.reviewed.json')
    return args


@one_line_errors(ImportError)
def main() -> None:
    """Serve the page, and write what came out."""
    args = parse_arguments()
    from wsol_mm.web.review.session import ReviewTask, serve_review

    options = vars(args)
    print(serve_review(ReviewTask(**options)))


if __name__ == '__main__':
    main()
