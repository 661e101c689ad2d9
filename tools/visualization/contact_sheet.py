"""Write a sheet of test images with attention, localization map and boxes, for a config and its checkpoint.

The images are chosen evenly over the test set. Beside each stand the method's attention map, if
it has one, and the localization map of the image's label, both laid over the image, and the ground-truth and
predicted boxes.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from wsol_mm.evaluation.box_protocol import box_protocol
from wsol_mm.evaluation.functional import TestGeometry, box_iou
from wsol_mm.evaluation.map_boxes import predict_boxes
from wsol_mm.evaluation.protocols import LocalizationProtocol
from wsol_mm.registry import DATASETS, MODELS
from wsol_mm.utils.runner_options import RunnerArgumentParser, checkpoint_path, config_path
from wsol_mm.visualization import read_image
from wsol_mm.visualization.localization_visualizer import GT_COLOR, PREDICTION_COLOR, heat_on_image

import cv2
import matplotlib
import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmpretrain.structures import DataSample
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_BATCH_SIZE = 16
_GAP = 6
_TEXT_HEIGHT = 20
_SHEET_WIDTH = 1600  # about; as many images stand side by side as fit, one at least
# Matplotlib brings the same fonts everywhere.
_FONT_DIR = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf'
_FONTS = ('DejaVuSans.ttf', 12), ('DejaVuSans-Bold.ttf', 14)
_BACKGROUND, _INK, _FAINT = (250, 250, 250), (30, 30, 30), (120, 120, 120)


def predict_samples(
    cfg: Config, checkpoint: str, count: int
) -> tuple[list[DataSample], Sequence[str] | None]:
    """Run the model of a config on test images chosen evenly.

    Args:
        cfg (Config): Runner config.
        checkpoint (str): File or address of the weights.
        count (int): Number of images; all if the test set has fewer.

    Returns:
        tuple[list[DataSample], Sequence[str] | None]: Predictions on the CPU, and the names of the classes.

    Raises:
        RuntimeError: The checkpoint does not fit the model.
    """
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model = MODELS.build({'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model, 'pretrained': None})
    load_checkpoint(model, checkpoint, map_location='cpu', strict=True)
    model.to('cuda' if torch.cuda.is_available() else 'cpu').eval()
    chosen = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int)).tolist()
    samples = []
    for start in range(0, len(chosen), _BATCH_SIZE):
        batch = pseudo_collate([dataset[index] for index in chosen[start : start + _BATCH_SIZE]])
        with torch.no_grad():
            samples += [sample.cpu() for sample in model.test_step(batch)]
    return samples, dataset.metainfo.get('classes')


def overlay(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay a heat map (H, W) in [0, 1] over an RGB image (H, W, 3)."""
    colours = cv2.applyColorMap(np.rint(heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return cv2.addWeighted(image, 0.4, np.ascontiguousarray(colours), 0.6, 0)


def fit_tile(image: NDArray[np.uint8], side: int) -> tuple[Image.Image, float, tuple[int, int]]:
    """Fit an RGB image into a square tile, keeping its aspect ratio.

    Returns:
        tuple[Image.Image, float, tuple[int, int]]: The tile, the scale and the image's corner (x, y) on it.
    """
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    tile = Image.new('RGB', (side, side), _BACKGROUND)
    corner = (side - size[0]) // 2, (side - size[1]) // 2
    tile.paste(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), corner)
    return tile, scale, corner


def draw_boxes(
    tile: Image.Image, boxes: NDArray[np.floating], colour: tuple, scale: float, corner: tuple[int, int]
) -> None:
    """Draw boxes (N, 4) with exclusive ends, in pixels of the original image, on its tile."""
    draw = ImageDraw.Draw(tile)
    for x0, y0, x1, y1 in np.asarray(boxes, float) * scale + (*corner, *corner):
        corners = round(x0), round(y0), max(round(x0), round(x1) - 1), max(round(y0), round(y1) - 1)
        draw.rectangle(corners, outline=colour, width=2)


def sample_tiles(
    sample: DataSample, protocol: LocalizationProtocol, threshold: float | None, side: int
) -> tuple[list[Image.Image], float | None]:
    """Make the tiles of one prediction.

    Args:
        sample (DataSample): Prediction of a :class:`LocalizationHead`.
        protocol (LocalizationProtocol): How the map becomes a box.
        threshold (float, optional): For a protocol that sweeps thresholds.
        side (int): Side of a tile in pixels.

    Returns:
        tuple[list[Image.Image], float | None]: Image, attention (not of a method without), map and boxes; and
        the IoU of the boxes, None without ground truth.

    Raises:
        ValueError: The file does not decode, or its size is not the one that the pipeline saw.
    """
    image = read_image(sample)
    geometry = TestGeometry.from_metainfo(sample.metainfo)
    loc_map = sample.loc_maps[0].float().numpy()
    heats = [loc_map]
    if 'attn_map' in sample:
        heats.insert(0, sample.attn_map.float().numpy())
    pictures = [image, *(overlay(image, heat_on_image(heat, geometry, protocol)) for heat in heats)]
    tiles = [fit_tile(picture, side)[0] for picture in pictures]
    tile, scale, corner = fit_tile(image, side)
    found = predict_boxes(loc_map, geometry, protocol, threshold)
    truth = sample.get('gt_bboxes')
    iou = None
    if truth is not None and len(truth):
        draw_boxes(tile, truth, GT_COLOR, scale, corner)
        iou = float(box_iou(found, np.asarray(truth)).max())
    draw_boxes(tile, found, PREDICTION_COLOR, scale, corner)
    return [*tiles, tile], iou


def caption(sample: DataSample, classes: Sequence[str] | None, iou: float | None) -> str:
    """Say label, prediction and IoU in one line."""

    def name(label: int) -> str:
        # Folders of CUB's layout number their classes, as in 001.Black_footed_Albatross.
        named = classes is not None and 0 <= label < len(classes)
        return re.sub(r'^\d+\.', '', str(classes[label])) if named else f'class {label}'

    predicted = int(sample.pred_label)
    text = f'{name(predicted)} {float(sample.pred_score[predicted]):.2f}'
    if 'gt_label' in sample:
        label = int(sample.gt_label)
        text = f'{name(label)}' if label == predicted else f'{name(label)}, taken for {text}'
    return text if iou is None else f'IoU {iou:.2f}  {text}'


def make_sheet(
    samples: Sequence[DataSample],
    classes: Sequence[str] | None,
    protocol: LocalizationProtocol,
    threshold: float | None,
    title: str,
    side: int,
) -> Image.Image:
    """Lay out the tiles of all predictions under a title, a legend and column heads.

    Args:
        samples (Sequence[DataSample]): Predictions.
        classes (Sequence[str], optional): Names of the classes.
        protocol (LocalizationProtocol): How maps become boxes.
        threshold (float, optional): For a protocol that sweeps thresholds.
        title (str): First line of the sheet.
        side (int): Side of a tile in pixels.

    Returns:
        Image.Image: The sheet.
    """
    attention = ['attention'] if 'attn_map' in samples[0] else []
    heads = ['image', *attention, 'localization map', 'boxes']
    block_width, block_height = len(heads) * (side + _GAP) + 2 * _GAP, side + _TEXT_HEIGHT + _GAP
    across = max(1, min(len(samples), _SHEET_WIDTH // block_width))
    down = -(-len(samples) // across)
    top = 3 * _TEXT_HEIGHT + 3 * _GAP
    sheet = Image.new('RGB', (across * block_width + 2 * _GAP, top + down * block_height + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font, bold = (ImageFont.truetype(str(_FONT_DIR / name), size) for name, size in _FONTS)

    for index, sample in enumerate(samples):
        tiles, iou = sample_tiles(sample, protocol, threshold, side)
        left = 2 * _GAP + (index % across) * block_width
        upper = top + (index // across) * block_height
        for position, tile in enumerate(tiles):
            sheet.paste(tile, (left + position * (side + _GAP), upper))
        right = iou is None or iou >= 0.5
        text = shorten(caption(sample, classes, iou), font, block_width - 3 * _GAP)
        draw.text((left, upper + side + 2), text, _INK if right else PREDICTION_COLOR, font)

    draw.text((2 * _GAP, _GAP), shorten(title, bold, sheet.width - 4 * _GAP), _INK, bold)
    used = protocol.thresholds[0] if threshold is None else threshold
    whose = 'one map for all classes' if int(samples[0].loc_labels[0]) < 0 else 'map of the label'
    x = 2 * _GAP
    for colour, text in (
        (GT_COLOR, 'ground-truth box'),
        (
            PREDICTION_COLOR,
            f'predicted box: {whose}, protocol {protocol.name}, threshold {used:.3g}',
        ),
    ):
        draw.rectangle(
            (x, _GAP + _TEXT_HEIGHT + 5, x + 14, _GAP + _TEXT_HEIGHT + 15), outline=colour, width=2
        )
        draw.text((x + 20, _GAP + _TEXT_HEIGHT + 3), text, _INK, font)
        x += 40 + round(font.getlength(text))
    for column in range(across):
        for position, head in enumerate(heads):
            place = 2 * _GAP + column * block_width + position * (side + _GAP), 2 * _TEXT_HEIGHT + 2 * _GAP
            draw.text(place, shorten(head, font, side), _FAINT, font)
    return sheet


def shorten(text: str, font: ImageFont.ImageFont, width: int) -> str:
    """Cut a text to a width in pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f'{text}…') > width:
        text = text[:-1]
    return f'{text}…'


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        arguments (Sequence[str], optional): Arguments; those of the process if None.

    Returns:
        argparse.Namespace: The options.
    """
    parser = RunnerArgumentParser(description=__doc__)
    parser.add_argument('config', type=config_path, help='config file')
    parser.add_argument('checkpoint', type=checkpoint_path, help='checkpoint of its model')
    parser.add_argument(
        '--out', type=Path, required=True, metavar='FILE', help='picture to write (.png or .jpg)'
    )
    parser.add_argument('--num', type=int, default=24, metavar='N', help='number of images (default: 24)')
    parser.add_argument(
        '--protocol', metavar='NAME', help='how maps become boxes (default: as the config draws, else ts_cam)'
    )
    parser.add_argument(
        '--threshold', type=float, metavar='T', help='threshold in [0, 1), for a protocol that searches it'
    )
    parser.add_argument('--title', help='first line (default: config and checkpoint)')
    parser.add_argument(
        '--tile', type=int, default=112, metavar='PIXELS', help='side of a tile (default: 112)'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    args = parser.parse_args(arguments)
    if args.num < 1:
        parser.error(f'argument --num: must be 1 or more, found {args.num}')
    if args.tile < 32:
        parser.error(f'argument --tile: must be 32 or more, found {args.tile}')
    if args.threshold is not None and not 0 <= args.threshold < 1:
        parser.error(f'argument --threshold: must lie in [0, 1), found {args.threshold}')
    if args.out.suffix.lower() not in ('.png', '.jpg', '.jpeg'):
        parser.error(f"argument --out: must end in .png or .jpg, found '{args.out}'")
    return args


def main() -> None:
    """Predict, draw, write, and print the path."""
    args = parse_arguments()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope(cfg.get('default_scope', 'wsol_mm'))
    try:
        protocol = box_protocol(cfg, args.protocol, args.threshold)
    except ValueError as error:
        raise SystemExit(f'{Path(__file__).name}: error: {error}') from error
    samples, classes = predict_samples(cfg, args.checkpoint, args.num)
    title = args.title or f'{Path(args.config).stem}, {Path(args.checkpoint).name}'
    sheet = make_sheet(samples, classes, protocol, args.threshold, title, args.tile)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.out)
    print(args.out.resolve())


if __name__ == '__main__':
    main()
