"""Show what the pipeline of a config feeds to the network: augmented images with their boxes.

Each row is one image: as it is on disk, then several passes through the pipeline. The boxes go where the
transforms put them; where that cannot be found out, no box is drawn and the transform is named.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsol_mm.cli.argument_types import output_folder
from wsol_mm.cli.runner_options import (
    RunnerArgumentParser,
    add_config_options,
    one_line_errors,
    read_config,
)

if TYPE_CHECKING:
    from wsol_mm.visualization.figure_layout import TileRow
    from wsol_mm.visualization.pipeline_geometry import PipelineGeometry

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL import Image

_COLUMNS = 6
_LINES_PER_PICTURE = 6


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments: Arguments; those of the process if None.

    Returns:
        The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    add_config_options(parser)
    parser.add_argument('--split', choices=('train', 'val', 'test'), default='train', help='default: train')
    parser.add_argument(
        '--out-dir', type=output_folder, required=True, metavar='DIR', help='folder for the pictures'
    )
    parser.add_argument(
        '-n', '--num', type=int, default=12, metavar='N', help='number of images, evenly spaced (default: 12)'
    )
    parser.add_argument(
        '--variants',
        type=int,
        metavar='V',
        help='passes of each image through the pipeline (default: 5 of the training data, otherwise 1)',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the augmentation (default: 0)')
    parser.add_argument(
        '--tile', type=int, default=160, metavar='PIXELS', help='side of a tile (default: 160)'
    )
    args = parser.parse_args(arguments)
    if args.variants is None:
        args.variants = 5 if args.split == 'train' else 1
    for name, least in (('num', 1), ('variants', 1), ('seed', 0), ('tile', 64)):
        if getattr(args, name) < least:
            parser.error(f'argument --{name}: expected an integer from {least}, got {getattr(args, name)}')
    return args


def input_picture(inputs: torch.Tensor) -> NDArray[np.uint8]:
    """Turn packed inputs, BGR (3, h, w) or ten crops (10, 3, h, w), into an RGB image (h, w, 3).

    Of ten crops, the centre crop is shown.
    """
    from wsol_mm.structures import CENTER_CROP

    import numpy as np

    chosen = inputs[CENTER_CROP] if inputs.dim() == 4 else inputs
    return np.ascontiguousarray(chosen.numpy().transpose(1, 2, 0)[..., ::-1])


def image_row(dataset: Any, geometry: PipelineGeometry, index: int, variants: int, side: int) -> TileRow:
    """Draw one image of a data set, from disk and through the pipeline.

    Args:
        dataset: A :class:`LocalizationDataset` whose pipeline ``geometry`` follows.
        geometry: Tells where the boxes are.
        index: Of the image.
        variants: Number of passes.
        side: Side of a tile in pixels.

    Returns:
        The file with its boxes, then the variants with theirs.
    """
    from wsol_mm.visualization.figure_layout import TileRow
    from wsol_mm.visualization.image_reading import read_image
    from wsol_mm.visualization.localization_visualizer import GT_COLOR
    from wsol_mm.visualization.tiles import draw_boxes, draw_quadrilaterals, fit_tile

    import numpy as np

    tiles: list[Image.Image] = []
    labels: list[str] = []
    for number in range(1, variants + 1):
        geometry.reset()
        item = dataset[index]
        sample = item['data_samples']
        boxes = np.asarray(sample.get('gt_bboxes', ()), float).reshape(-1, 4)
        if number == 1:
            heading = f'{sample.img_id}, label {int(sample.gt_label)}'
            image = read_image(sample)
            tile = fit_tile(image, side)
            draw_boxes(tile, boxes, GT_COLOR)
            tiles.append(tile.picture)
            labels.append(f'file, {image.shape[1]}x{image.shape[0]}')
        picture = input_picture(item['inputs'])
        tile = fit_tile(picture, side)
        labels.append(f'{number}: {picture.shape[1]}x{picture.shape[0]}')
        if len(boxes):
            corners = geometry.boxes_in_input(boxes)
            if corners is None:
                labels[-1] = f'{number}: no box, {geometry.problem}?'
            else:
                draw_quadrilaterals(tile, corners, GT_COLOR)
        tiles.append(tile.picture)
    return TileRow(tiles, labels, heading)


@one_line_errors()
def main() -> None:
    """Draw, write, and print the paths."""
    args = parse_arguments()
    from wsol_mm.apis.image_selection import spread_indices
    from wsol_mm.datasets.fine_grained import FineGrainedDataset
    from wsol_mm.registry import DATASETS
    from wsol_mm.visualization.figure_layout import figure_of_rows
    from wsol_mm.visualization.localization_visualizer import GT_COLOR
    from wsol_mm.visualization.pipeline_geometry import PipelineGeometry

    import numpy as np
    import torch
    from mmengine.registry import init_default_scope

    cfg = read_config(args)
    init_default_scope(cfg.get('default_scope', 'wsol_mm'))
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    loader = cfg.get(f'{args.split}_dataloader')
    if not loader:
        raise ValueError(f'config: expected {args.split}_dataloader, got none')
    settings = dict(loader.dataset)
    if issubclass(DATASETS.get(settings['type']), FineGrainedDataset):
        settings.setdefault('with_boxes', True)  # which training leaves unread
    dataset = DATASETS.build(settings)
    geometry = PipelineGeometry()
    geometry.follow(dataset.pipeline)
    indices = spread_indices(len(dataset), args.num)
    rows = [image_row(dataset, geometry, index, args.variants, args.tile) for index in indices]
    args.out_dir.mkdir(parents=True, exist_ok=True)
    lines = -(-(args.variants + 1) // _COLUMNS)
    together = max(1, _LINES_PER_PICTURE // lines)
    for number, start in enumerate(range(0, len(rows), together), start=1):
        title = f'{Path(args.config).stem}: {args.split} data as it enters the network'
        picture = figure_of_rows(
            title, rows[start : start + together], [(GT_COLOR, 'ground-truth box')], _COLUMNS
        )
        path = args.out_dir / f'{args.split}_{number}.png'
        picture.save(path)
        print(path.resolve())


if __name__ == '__main__':
    main()
