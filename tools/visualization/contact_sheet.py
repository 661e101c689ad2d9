"""Write a sheet of test images with attention, localization map and boxes, for a config and its checkpoint.

The images are chosen evenly over the test set. Beside each stand the method's attention map, if
it has one, and the localization map of the image's label, both laid over the image, and the ground-truth and
predicted boxes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from wsol_mm.cli.argument_types import output_file_of
from wsol_mm.cli.box_options import add_box_options
from wsol_mm.cli.refinement_option import add_refinement_option
from wsol_mm.cli.runner_options import (
    CHECKPOINT_HELP,
    NO_CHECKPOINT,
    RunnerArgumentParser,
    add_config_options,
    one_line_errors,
    read_config,
    weights_path,
)
from wsol_mm.evaluation.box_protocol import box_protocol
from wsol_mm.utils.refinement_choice import use_refinement
from wsol_mm.utils.whole_files import whole_file


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('checkpoint', type=weights_path, help=CHECKPOINT_HELP)
    parser.add_argument(
        '--out',
        type=output_file_of('.png', '.jpg', '.jpeg'),
        required=True,
        metavar='FILE',
        help='picture to write (.png or .jpg)',
    )
    parser.add_argument('--num', type=int, default=24, metavar='N', help='number of images (default: 24)')
    add_box_options(parser)
    add_refinement_option(parser)
    parser.add_argument('--title', help='first line (default: config and checkpoint)')
    parser.add_argument(
        '--tile', type=int, default=112, metavar='PIXELS', help='side of a tile (default: 112)'
    )
    args = parser.parse_args(arguments)
    if args.num < 1:
        parser.error(f'argument --num: expected an integer from 1, got {args.num}')
    if args.tile < 32:
        parser.error(f'argument --tile: expected an integer from 32, got {args.tile}')
    return args


@one_line_errors(ImportError)
def main() -> None:
    """Predict, draw, write, and print the path."""
    args = parse_arguments()
    from wsol_mm.apis.contact_sheet import make_sheet, predict_samples

    from mmengine.registry import init_default_scope

    cfg = read_config(args)
    if args.refine is not None:
        use_refinement(cfg, args.refine)
    init_default_scope(cfg.get('default_scope', 'wsol_mm'))
    protocol = box_protocol(cfg, args.protocol, args.threshold)
    samples, classes = predict_samples(cfg, args.checkpoint, args.num)
    title = args.title or f'{Path(args.config).stem}, {Path(args.checkpoint or NO_CHECKPOINT).name}'
    sheet = make_sheet(samples, classes, protocol, title, args.tile)
    with whole_file(args.out) as part:
        sheet.save(part, format='PNG' if args.out.suffix.lower() == '.png' else 'JPEG')
    print(args.out.resolve())


if __name__ == '__main__':
    main()
