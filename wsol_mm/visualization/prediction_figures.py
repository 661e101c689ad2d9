"""Pictures of one prediction: maps over the image, boxes, and the line that says how right it is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wsol_mm.evaluation.functional import ImageGeometry, box_iou, frame_in_image
from wsol_mm.evaluation.map_boxes import heat_on_image, predict_boxes
from wsol_mm.evaluation.protocols import LocalizationProtocol

import numpy as np
from mmpretrain.structures import DataSample
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .figure_layout import TileRow, figure_of_rows
from .image_reading import read_image
from .localization_visualizer import GT_COLOR, PREDICTION_COLOR
from .map_collection import ImageMaps
from .tiles import Colour, Tile, draw_boxes, fit_tile, overlay_heat

#: Heads of :meth:`PredictionPictures.tiles`, by what is drawn.
IMAGE, ATTENTION, ROLLOUT, SEMANTIC, COUPLED, BOXES = (
    'image',
    'attention',
    'Attention Rollout',
    'semantic map',
    'localization map',
    'boxes',
)


def class_name(label: int, classes: Sequence[str] | None) -> str:
    """Name a class; without the number that folders of CUB's layout have, as 001.Black_footed_Albatross."""
    if classes is None or not 0 <= label < len(classes):
        return f'class {label}'
    return re.sub(r'^\d+\.', '', str(classes[label]))


def caption(sample: DataSample, classes: Sequence[str] | None, iou: float | None) -> str:
    """Say label, prediction and IoU in one line.

    Args:
        sample: Prediction; its label is optional.
        classes: Names of the classes; a class without a name is called by its number.
        iou: IoU of the predicted box, None if there is no ground truth.
    """
    predicted = int(sample.pred_label)
    text = f'{class_name(predicted, classes)} {float(sample.pred_score[predicted]):.2f}'
    if 'gt_label' in sample:
        label = int(sample.gt_label)
        text = (
            f'{class_name(label, classes)}'
            if label == predicted
            else f'{class_name(label, classes)}, taken for {text}'
        )
    return text if iou is None else f'IoU {iou:.2f}  {text}'


def box_legend(sample: DataSample, protocol: LocalizationProtocol) -> list[tuple[Colour, str]]:
    """Say what the outlines of boxes mean, for pictures of predictions like this one.

    Args:
        sample: One of the predictions.
        protocol: How maps become boxes, with one threshold.
    """
    if int(sample.loc_labels[0]) < 0:
        whose = 'one map for all classes'
    else:
        whose = 'map of the label' if 'gt_label' in sample else 'map of the predicted class'
    predicted = f'predicted box: {whose}, protocol {protocol.name}, threshold {protocol.thresholds[0]:.3g}'
    truth = [(GT_COLOR, 'ground-truth box')] if len(_truth(sample)) else []
    return [*truth, (PREDICTION_COLOR, predicted)]


def _truth(sample: DataSample) -> NDArray[np.float64]:
    return np.asarray(sample.get('gt_bboxes', ()), np.float64).reshape(-1, 4)


@dataclass
class PredictionPictures:
    """Draws one prediction on its image.

    Args:
        sample: Prediction of a :class:`LocalizationHead`, with the meta keys of :class:`ImageGeometry`. Its
            first map is shown: that of the label where it is known, else of the predicted class.
        protocol: How a map is enlarged and becomes a box, with one threshold.

    Raises:
        ValueError: If the file does not decode, or its size is not the one that the pipeline saw.
    """

    sample: DataSample
    protocol: LocalizationProtocol

    def __post_init__(self) -> None:
        self.image = read_image(self.sample)
        self.geometry = ImageGeometry.from_metainfo(self.sample.metainfo)
        loc_map = self.sample.loc_maps[0].float().numpy()
        self.boxes = predict_boxes(loc_map, self.geometry, self.protocol)

    @property
    def iou(self) -> float | None:
        """IoU of the predicted box with the best of the ground-truth boxes, None if there are none."""
        truth = _truth(self.sample)
        return float(box_iou(self.boxes, truth).max()) if len(truth) else None

    @property
    def right(self) -> bool:
        """Whether the IoU is at least 0.5, or unknown."""
        return self.iou is None or self.iou >= 0.5

    def tile_size(self, width: int) -> tuple[int, int]:
        """Return width and height of tiles with the image's aspect ratio, within 1:2 and 2:1."""
        aspect = self.image.shape[0] / self.image.shape[1]
        return width, round(width * min(max(aspect, 0.5), 2.0))

    def heat_tile(self, heat: Tensor, size: int | tuple[int, int]) -> Image.Image:
        """Lay a map (h, w) of the patch grid over the image, in a frame of a side or (width, height)."""
        picture = overlay_heat(self.image, heat_on_image(heat.float().numpy(), self.geometry, self.protocol))
        # What the network did not see has no heat: it is shown faded instead of cold.
        seen = np.zeros(picture.shape[:2], bool)
        x0, y0, x1, y1 = frame_in_image(self.geometry)
        seen[y0:y1, x0:x1] = True
        picture = np.where(seen[..., None], picture, self.image // 3 + 160)
        return fit_tile(picture, size).picture

    def box_tile(self, size: int | tuple[int, int]) -> Image.Image:
        """Draw ground-truth and predicted boxes on the image."""
        tile: Tile = fit_tile(self.image, size)
        draw_boxes(tile, _truth(self.sample), GT_COLOR)
        draw_boxes(tile, self.boxes, PREDICTION_COLOR)
        return tile.picture

    def tiles(self, size: int | tuple[int, int], maps: ImageMaps | None = None) -> dict[str, Image.Image]:
        """Make the tiles from the image to its boxes, by their head.

        Args:
            size: Of a tile, a side or (width, height).
            maps: Also show what is in them: rollout and semantic map.

        Returns:
            Image, attention, rollout and semantic map (not of a method without), localization map, boxes.
        """
        tiles = {IMAGE: fit_tile(self.image, size).picture}
        if 'attn_map' in self.sample:
            tiles[ATTENTION] = self.heat_tile(self.sample.attn_map, size)
        if maps is not None:
            if maps.rollout is not None:
                tiles[ROLLOUT] = self.heat_tile(maps.rollout, size)
            if maps.semantic is not None:
                tiles[SEMANTIC] = self.heat_tile(maps.semantic, size)
        tiles[COUPLED] = self.heat_tile(self.sample.loc_maps[0], size)
        tiles[BOXES] = self.box_tile(size)
        return tiles

    def figure(self, maps: ImageMaps, classes: Sequence[str] | None, width: int) -> Image.Image:
        """Draw the prediction, the maps that led to it and those of all layers.

        Args:
            maps: Maps of the image.
            classes: Names of the classes.
            width: Of a tile in pixels, see :meth:`tile_size`.

        Returns:
            The figure.
        """
        size = self.tile_size(width)
        tiles = self.tiles(size, maps)
        rows = [TileRow(list(tiles.values()), list(tiles))]
        depth = max(map(len, maps.layers.values()), default=0)
        for name, layers in maps.layers.items():
            pictures = [self.heat_tile(layer, size) for layer in layers]
            # Only some layers may show a map, and the features do not say which.
            number = 'layer {}' if len(layers) == depth else f'{{}} of {len(layers)}'
            labels = [number.format(i) for i in range(1, len(layers) + 1)]
            rows.append(TileRow(pictures, labels, f'{name[0].upper()}{name[1:]}, layer by layer'))
        return figure_of_rows(
            caption(self.sample, classes, self.iou),
            rows,
            box_legend(self.sample, self.protocol),
        )
