"""Make boxes for a folder of labelled images, FOLDER/<class>/*.jpg, from nothing but the labels.

A frozen backbone looks at every image once; a small head is trained on what it sees, in seconds per epoch;
boxes are written for all images, with a sheet of some of them to look at. A run that was stopped, in whatever
way, goes on when started again with the same arguments. The exit status is 0, or 3 if some images do not
decode.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from wsol_mm.annotation_formats import FORMATS
from wsol_mm.cli.argument_types import integer_within, map_threshold, output_folder
from wsol_mm.cli.config_options import add_cfg_options
from wsol_mm.cli.refinement_option import add_refinement_option
from wsol_mm.cli.runner_options import RunnerArgumentParser, checkpoint_path, one_line_errors
from wsol_mm.feature_cache.settings import VIEWS

_BROKEN_STATUS = 3


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='folder with a folder of images per class')
    parser.add_argument(
        '--out', type=output_folder, required=True, help='folder of all that is written: boxes, sheet, model'
    )
    parser.add_argument(
        '--backbone', metavar='NAME', help='model of timm (default: vit_small_patch14_dinov2.lvd142m)'
    )
    parser.add_argument(
        '--weights',
        type=checkpoint_path,
        metavar='FILE',
        help='its weights, where they cannot be downloaded or are your own',
    )
    parser.add_argument(
        '--config',
        default='found_dinov2-s_folder',
        help='config of a head on a frozen backbone (default: found_dinov2-s_folder)',
    )
    parser.add_argument(
        '--img-size',
        type=integer_within(16, 4096),
        metavar='N',
        help="side of the images (default: that of the backbone's own images; a smaller one is faster)",
    )
    parser.add_argument(
        '--views', nargs='+', choices=VIEWS, default=['plain', 'flip'], help='views to train on (plain flip)'
    )
    parser.add_argument('--threshold', type=map_threshold, help="of the maps (default: the config's)")
    add_refinement_option(parser)
    parser.add_argument('--format', choices=FORMATS, default='coco', help='of the boxes (default: coco)')
    parser.add_argument('--seed', type=integer_within(0), default=0, help='of the training (default: 0)')
    parser.add_argument(
        '--batch-size', type=integer_within(1), default=32, help='images at a time (default: 32)'
    )
    parser.add_argument(
        '--num-workers', type=integer_within(0), default=2, help='processes that load images (default: 2)'
    )
    add_cfg_options(parser)
    return parser.parse_args(arguments)


@one_line_errors(ImportError)
def main() -> None:
    """Label the folder, and say what came out."""
    args = parse_arguments()
    from wsol_mm.apis.folder_labelling import LabellingTask, label_folder

    options = vars(args)
    task = LabellingTask(
        views=tuple(options.pop('views')), options=options.pop('cfg_options') or {}, **options
    )
    summary = label_folder(task)
    broken = (args.out / 'broken.txt').read_text().splitlines()
    done = 'Made before' if summary is None else f'{summary.num_boxes} boxes'
    print(f'{done}: {task.boxes.resolve()}')
    print(f'Pictures of some: {task.sheet.resolve()}')
    if broken:
        print(f'{len(broken)} images do not decode, listed in {(args.out / "broken.txt").resolve()}')
        raise SystemExit(_BROKEN_STATUS)


if __name__ == '__main__':
    main()
