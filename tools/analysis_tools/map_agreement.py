"""Agreement of two folders of maps on the boxes, per threshold: settings chosen without drawn boxes.

The maps, of the same images, are those of two seeds, or of the images and of their mirror images: both from
tools/predict.py --save-maps, best on training images. The threshold with the largest agreement beyond chance
is named. What views and filters give is told by running it once for each of them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsol_mm.cli.argument_types import map_threshold, output_file
from wsol_mm.cli.runner_options import RunnerArgumentParser, one_line_errors
from wsol_mm.utils.whole_files import write_json

if TYPE_CHECKING:
    from wsol_mm.evaluation.map_agreement import MapAgreement

#: From 0.05 to 0.95.
THRESHOLDS = tuple(step / 20 for step in range(1, 20))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    parser.add_argument('first', type=Path, metavar='A', help='folder of maps (.npz, .npy)')
    parser.add_argument('second', type=Path, metavar='B', help='folder of other maps of the same images')
    parser.add_argument('--mirrored', action='store_true', help='the maps in B are of the mirrored images')
    parser.add_argument(
        '--thresholds',
        nargs='+',
        type=map_threshold,
        metavar='T',
        default=THRESHOLDS,
        help='thresholds in [0, 1) on the map, ascending (default: 0.05 0.1 ... 0.95)',
    )
    parser.add_argument(
        '--out', type=output_file, metavar='FILE', help='also write the numbers to this JSON file'
    )
    return parser.parse_args(arguments)


def print_agreement(agreement: 'MapAgreement') -> None:
    """Print a line for every threshold, and what to choose."""
    print('threshold  mean IoU  by chance  beyond chance')
    rows = zip(*agreement[:3], agreement.beyond_chance, strict=True)
    for place, (threshold, iou, chance, beyond) in enumerate(rows):
        mark = '  <- best' if place == agreement.best else ''
        print(f'{threshold:9.3f}  {iou:8.4f}  {chance:9.4f}  {beyond:13.4f}{mark}')
    print(
        f'{agreement.images} images compared, {agreement.left_out} without a counterpart, {agreement.flat} '
        'without contrast'
    )


@one_line_errors()
def main() -> None:
    """Compare, and print."""
    args = parse_arguments()
    from wsol_mm.evaluation.map_agreement import map_agreement

    agreement = map_agreement(args.first, args.second, args.thresholds, args.mirrored)
    print_agreement(agreement)
    if args.out is not None:
        best = agreement.best
        write_json(
            args.out,
            {
                'best_threshold': agreement.thresholds[best].item(),
                'beyond_chance': agreement.beyond_chance[best].item(),
                'mean_iou': agreement.iou[best].item(),
                **{name: getattr(agreement, name) for name in ('images', 'left_out', 'flat')},
                'thresholds': agreement.thresholds.tolist(),
                'mean_ious': agreement.iou.tolist(),
                'chance_ious': agreement.chance.tolist(),
            },
        )


if __name__ == '__main__':
    main()
