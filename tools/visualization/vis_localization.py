"""Show how a model localizes: one picture for each image, and contact sheets of all.

A picture has the image, the method's attention map, Attention Rollout, the semantic map, the localization
map (in most methods their product), the boxes, and the maps of every layer: the class token's attention,
averaged over the heads, and what else the layers show. A method without one of these has no tile of it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from wsol_mm.cli.argument_types import output_folder
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

_BATCH_SIZE = 8
_IMAGES_PER_SHEET = 48
_SHEET_TILE = 112


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
        'images',
        nargs='*',
        metavar='IMAGE',
        help="image files, and folders of them (default: the config's test data, with labels and boxes)",
    )
    parser.add_argument(
        '--out-dir', type=output_folder, required=True, metavar='DIR', help='folder for the pictures'
    )
    parser.add_argument(
        '-n',
        '--num',
        type=int,
        metavar='N',
        help='number of images, evenly spaced (default: 24 of the test data, all images that are given)',
    )
    add_box_options(parser)
    parser.add_argument(
        '--tile', type=int, default=160, metavar='PIXELS', help='width of a tile (default: 160)'
    )
    args = parser.parse_args(arguments)
    if args.num is not None and args.num < 1:
        parser.error(f'argument --num: expected an integer from 1, got {args.num}')
    if args.tile < 64:
        parser.error(f'argument --tile: expected an integer from 64, got {args.tile}')
    return args


def picture_name(img_id: str, taken: set[str]) -> str:
    """Name a picture after its image: ``dog_1.jpg.png`` is that of ``dog/1.jpg``.

    Args:
        img_id: Path of the image relative to its data set, or its file name.
        taken: Names in use; the new one is added.

    Returns:
        The name, with a number where images of different folders share theirs.
    """
    stem = name = img_id.replace('/', '_')
    number = 1
    while name in taken:
        number += 1
        name = f'{stem}_{number}'
    taken.add(name)
    return f'{name}.png'


@one_line_errors(ImportError)
def main() -> None:
    """Predict, draw, write, and print the paths of the sheets and the folder of the pictures."""
    args = parse_arguments()
    from wsol_mm.apis.image_selection import ImageSelection
    from wsol_mm.apis.model_loading import load_localizer
    from wsol_mm.visualization.figure_layout import SheetBlock, contact_sheet
    from wsol_mm.visualization.localization_visualizer import PREDICTION_COLOR
    from wsol_mm.visualization.map_collection import predict_with_maps
    from wsol_mm.visualization.prediction_figures import PredictionPictures, box_legend, caption
    from wsol_mm.visualization.tiles import INK

    from mmengine.registry import init_default_scope

    cfg = read_config(args)
    init_default_scope(cfg.get('default_scope', 'wsol_mm'))
    protocol = box_protocol(cfg, args.protocol, args.threshold)
    count = 24 if args.num is None and not args.images else args.num
    images = ImageSelection(cfg, args.images, count)
    model, trained_classes = load_localizer(cfg, args.checkpoint)
    classes = images.classes or trained_classes
    args.out_dir.mkdir(parents=True, exist_ok=True)

    blocks: list[SheetBlock] = []
    names: set[str] = set()
    done = sheets = 0
    for batch in images.batches(_BATCH_SIZE):
        for sample, maps in zip(*predict_with_maps(model, batch), strict=True):
            pictures = PredictionPictures(sample, protocol)
            name = picture_name(str(sample.get('img_id', Path(sample.img_path).name)), names)
            pictures.figure(maps, classes, args.tile).save(args.out_dir / name)
            tiles = pictures.tiles(_SHEET_TILE, maps)
            colour = INK if pictures.right else PREDICTION_COLOR
            blocks.append(SheetBlock(list(tiles.values()), caption(sample, classes, pictures.iou), colour))
            done += 1
            if len(blocks) == _IMAGES_PER_SHEET or done == len(images):
                sheets += 1
                title = f'{Path(args.config).stem}, {Path(args.checkpoint or NO_CHECKPOINT).name}'
                legend = box_legend(sample, protocol)
                path = args.out_dir / f'contact_sheet_{sheets}.png'
                contact_sheet(title, blocks, list(tiles), legend).save(path)
                blocks = []
                print(path.resolve())
    print(f'{done} pictures, one for each image: {args.out_dir.resolve()}')


if __name__ == '__main__':
    main()
