"""A sheet of images with attention, localization map and boxes."""

from collections.abc import Sequence
from pathlib import Path

from wsol_mm.evaluation.protocols import LocalizationProtocol
from wsol_mm.visualization.figure_layout import SheetBlock, contact_sheet
from wsol_mm.visualization.localization_visualizer import PREDICTION_COLOR
from wsol_mm.visualization.prediction_figures import PredictionPictures, box_legend, caption
from wsol_mm.visualization.tiles import INK

import torch
from mmengine.config import Config
from mmpretrain.structures import DataSample
from PIL import Image

from .image_selection import ImageSelection
from .model_loading import load_localizer

_BATCH_SIZE = 16


def predict_samples(
    cfg: Config, checkpoint: str | Path | None, count: int
) -> tuple[list[DataSample], Sequence[str] | None]:
    """Run the model of a config on test images chosen evenly.

    Args:
        cfg: Runner config.
        checkpoint: File or address of the weights; None for a model that needs no training.
        count: Number of images; all if the test set has fewer.

    Returns:
        Predictions on the CPU, and the names of the classes.

    Raises:
        ValueError: The checkpoint cannot be read or does not fit the model.
    """
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
    blocks = []
    for sample in samples:
        pictures = PredictionPictures(sample, protocol)
        tiles = pictures.tiles(side)
        colour = INK if pictures.right else PREDICTION_COLOR
        blocks.append(SheetBlock(list(tiles.values()), caption(sample, classes, pictures.iou), colour))
    return contact_sheet(title, blocks, list(tiles), box_legend(samples[0], protocol))
