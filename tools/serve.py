"""Serve a model: POST /predict takes an image and answers with boxes, or with a picture.

A page to drop an image on is at /, what is counted at /metrics, and /health says that the model is ready. It
listens to this machine alone unless --host says otherwise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from wsol_mm.cli.argument_types import integer_within
from wsol_mm.cli.box_options import add_box_options
from wsol_mm.cli.refinement_option import add_refinement_option
from wsol_mm.cli.runner_options import (
    CHECKPOINT_HELP,
    RunnerArgumentParser,
    add_config_options,
    one_line_errors,
    read_config,
    weights_path,
)
from wsol_mm.cli.server_options import add_server_options


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('checkpoint', type=weights_path, help=CHECKPOINT_HELP)
    parser.add_argument('--classes', type=Path, metavar='FILE', help='file of class names, one per line')
    add_box_options(parser)
    add_refinement_option(parser)
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: the first GPU, if there is one)')
    numbers = {
        'batch-size': (1, 16, 'images in the largest batch'),
        'max-wait': (0, 5, 'milliseconds that an image waits for others to make a batch'),
        'max-queue': (1, 128, 'images that may wait; further ones are refused (503)'),
        'max-megabytes': (1, 20, 'size of the largest image file'),
        'max-megapixels': (1, 50, 'size of the largest image'),
        'timeout': (1, 30, 'seconds after which a request is given up (504)'),
    }
    for name, (lowest, default, text) in numbers.items():
        parser.add_argument(
            f'--{name}',
            type=integer_within(lowest),
            default=default,
            metavar='N',
            help=f'{text} (default: {default})',
        )
    parser.add_argument(
        '--label-studio',
        type=Path,
        metavar='DIR',
        help='be a backend of Label Studio, at /label-studio, for the images in this folder',
    )
    add_server_options(parser, 8030)
    return parser.parse_args(arguments)


@one_line_errors(ImportError)
def main() -> None:
    """Serve the model."""
    args = parse_arguments()
    from wsol_mm.web.serving.session import ServingTask, serve_model

    cfg = read_config(args)
    options = {key: value for key, value in vars(args).items() if key not in ('config', 'cfg_options')}
    serve_model(cfg, ServingTask(**options))


if __name__ == '__main__':
    main()
