"""Write a sheet of test images with attention, localization map and boxes, for a config and its checkpoint.

The images are chosen evenly over the test set. Beside each stand the method's attention map, if
it has one, and the localization map of the image's label, both laid over the image, and the ground-truth and
predicted boxes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsol_mm.cli.argument_types import output_file
from wsol_mm.cli.box_options import add_box_options
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
from wsol_mm.utils.whole_files import whole_file

if TYPE_CHECKING:
    from wsol_mm.evaluation.protocols import LocalizationProtocol

    from mmengine.config import Config
    from mmpretrain.structures import DataSample
    from PIL import Image

_BATCH_SIZE = 16


def predict_samples(
    cfg: Config, checkpoint: str | None, count: int
) -> tuple[list[DataSample], Sequence[str] | None]:
    """Run the model of a config on test images chosen evenly.

    Args:
        cfg: Runner config.
        checkpoint: File or address of the weights; None where the config names a trained classifier.
        count: Number of images; all if the test set has fewer.

    Returns:
        Predictions on the CPU, and the names of the classes.

    Raises:
        ValueError: The checkpoint cannot be read or does not fit the model.
    """
    from wsol_mm.apis.image_selection import ImageSelection
    from wsol_mm.apis.model_loading import load_localizer

    import torch

    images = ImageSelection(cfg, count=count)
    model, _ = load_localizer(cfg, checkpoint)
    with torch.no_grad():
        samples = [sample.cpu() for batch in images.batches(_BATCH_SIZE) for sample in model.test_step(batch)]
    return samples, images.classes


def make_sheet(
    samples: Sequence[DataSample],
    classes: Sequence[str] | None,
    protocol: LocalizationProtocol,
    title: str,
    side: int,
) -> Image.Image:
    """Lay out the tiles of all predictions under a title, a legend and column heads.

    Args:
        samples: Predictions.
        classes: Names of the classes.
        protocol: How maps become boxes.
        title: First line of the sheet.
        side: Side of a tile in pixels.

    Returns:
        The sheet.
    """
    from wsol_mm.visualization.figure_layout import SheetBlock, contact_sheet
    from wsol_mm.visualization.localization_visualizer import PREDICTION_COLOR
    from wsol_mm.visualization.prediction_figures import PredictionPictures, box_legend, caption
    from wsol_mm.visualization.tiles import INK

    blocks = []
    for sample in samples:
        pictures = PredictionPictures(sample, protocol)
        tiles = pictures.tiles(side)
        colour = INK if pictures.right else PREDICTION_COLOR
        blocks.append(SheetBlock(list(tiles.values()), caption(sample, classes, pictures.iou), colour))
    return contact_sheet(title, blocks, list(tiles), box_legend(samples[0], protocol))


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
        '--out', type=output_file, required=True, metavar='FILE', help='picture to write (.png or .jpg)'
    )
    parser.add_argument('--num', type=int, default=24, metavar='N', help='number of images (default: 24)')
    add_box_options(parser)
    parser.add_argument('--title', help='first line (default: config and checkpoint)')
    parser.add_argument(
        '--tile', type=int, default=112, metavar='PIXELS', help='side of a tile (default: 112)'
    )
    args = parser.parse_args(arguments)
    if args.num < 1:
        parser.error(f'argument --num: expected an integer from 1, got {args.num}')
    if args.tile < 32:
        parser.error(f'argument --tile: expected an integer from 32, got {args.tile}')
    if args.out.suffix.lower() not in ('.png', '.jpg', '.jpeg'):
        parser.error(f"argument --out: expected a file that ends in .png or .jpg, got '{args.out}'")
    return args


@one_line_errors(ImportError)
def main() -> None:
    """Predict, draw, write, and print the path."""
    args = parse_arguments()
    from mmengine.registry import init_default_scope

    cfg = read_config(args)
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
