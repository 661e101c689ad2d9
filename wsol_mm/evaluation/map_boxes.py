"""One localization map under one protocol: score map, boxes, IoU at every threshold, heat on the image."""

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .functional.boxes import ImageGeometry, box_iou, frame_boxes_to_image, frame_in_image, gt_boxes_to_frame
from .functional.regions import all_regions, largest_regions, max_per_level
from .functional.score_maps import ConstantMapError, make_score_map
from .functional.thresholding import LevelImage, integer_thresholds, level_image, quantize
from .protocols import LocalizationProtocol


class MapIoU(NamedTuple):
    """Best IoU over predicted and ground-truth boxes at every threshold of a protocol.

    Attributes:
        iou: Best IoU per threshold (T,), float64.
        boxes: Boxes per threshold (T, 4) in frame pixels, or None where all contours count.
    """

    iou: NDArray[np.float64]
    boxes: NDArray[np.float64] | None


def score_map(
    loc_map: NDArray[np.floating], size: tuple[int, int], protocol: LocalizationProtocol
) -> NDArray[np.floating]:
    """Enlarge and normalise one localization map as the protocol does.

    Args:
        loc_map: Map (h, w) on the patch grid, un-normalised.
        size: Width and height of the evaluation frame.
        protocol: The protocol.

    Returns:
        Score map (height, width).

    Raises:
        ConstantMapError: If the map has no contrast or holds NaN.
    """
    return make_score_map(
        loc_map, size, protocol.dtype, protocol.interpolation, protocol.normalize, protocol.normalize_eps
    )


def score_map_boxes(score: NDArray[np.floating], protocol: LocalizationProtocol) -> NDArray[np.float64]:
    """Box of the largest region of a score map at every threshold.

    Args:
        score: Score map (H, W) in [0, 1].
        protocol: The protocol; its ``contours`` must be 'largest'.

    Returns:
        Boxes (T, 4) in frame pixels, x0 y0 x1 y1 with the upper ends the protocol uses.
    """
    levels = _levels(score, protocol)
    boxes = largest_regions(levels.levels, levels.num_levels, protocol.region)
    return finish_boxes(boxes, score.shape, protocol)[levels.index]


def score_map_iou(
    score: NDArray[np.floating], gt_boxes: NDArray[np.number], protocol: LocalizationProtocol
) -> MapIoU:
    """Best IoU of a score map's boxes with the ground truth at every threshold.

    Args:
        score: Score map (H, W) in [0, 1].
        gt_boxes: Ground-truth boxes (G, 4) in frame pixels, G >= 1.
        protocol: The protocol.

    Returns:
        The IoU, and the boxes where the protocol keeps one box per threshold.
    """
    if protocol.contours == 'largest':
        boxes = score_map_boxes(score, protocol)
        return MapIoU(box_iou(boxes, gt_boxes, protocol.inclusive_iou).max(axis=1), boxes)
    levels = _levels(score, protocol)
    regions = all_regions(levels.levels, levels.num_levels)
    boxes = finish_boxes(regions.boxes, score.shape, protocol)
    iou = box_iou(boxes, gt_boxes, protocol.inclusive_iou).max(axis=1, initial=0.0)
    best = max_per_level(iou, regions.first_level, regions.last_level, levels.num_levels)
    empty = box_iou(empty_box(score.shape, protocol)[None], gt_boxes, protocol.inclusive_iou).max()
    return MapIoU(np.where(best < 0, empty, best)[levels.index], None)


def localization_map_iou(
    loc_map: NDArray[np.floating],
    gt_boxes: NDArray[np.number],
    size: tuple[int, int],
    protocol: LocalizationProtocol,
) -> MapIoU:
    """:func:`score_map_iou` of a localization map on the patch grid.

    Raises:
        ConstantMapError: If the map has no contrast; :func:`empty_map_iou` is its score.
    """
    return score_map_iou(score_map(loc_map, size, protocol), gt_boxes, protocol)


def empty_map_iou(
    gt_boxes: NDArray[np.number], size: tuple[int, int], protocol: LocalizationProtocol
) -> MapIoU:
    """The score of a map without contrast: the protocol's empty box at every threshold."""
    box = empty_box((size[1], size[0]), protocol)
    boxes = np.repeat(box[None], len(protocol.thresholds), axis=0)
    return MapIoU(box_iou(boxes, gt_boxes, protocol.inclusive_iou).max(axis=1), boxes)


def empty_box(shape: tuple[int, ...], protocol: LocalizationProtocol) -> NDArray[np.float64]:
    """Box (4,) that the protocol gives where nothing is above the threshold of an (H, W) map."""
    upper = {'zero': (0, 0), 'unit': (1, 1), 'frame': (shape[1], shape[0])}[protocol.empty_box]
    return np.array([0, 0, *upper], np.float64)


def is_empty(loc_map: NDArray[np.floating], protocol: LocalizationProtocol) -> bool:
    """Whether nothing of a map is above the threshold, which only happens to maps that are not normalised."""
    return protocol.normalize == 'none' and not (loc_map > min(protocol.thresholds)).any()


def finish_boxes(
    boxes: NDArray[np.number], shape: tuple[int, ...], protocol: LocalizationProtocol
) -> NDArray[np.float64]:
    """Give region boxes (M, 4) with exclusive ends the protocol's ends and its empty box."""
    boxes = np.asarray(boxes, np.float64)
    finished = boxes.copy()
    if protocol.clip_ends:
        finished[:, 2:] = np.minimum(finished[:, 2:], (shape[1] - 1, shape[0] - 1))
    finished[boxes[:, 2] < 0] = empty_box(shape, protocol)
    return finished


def predict_boxes(
    loc_map: NDArray[np.floating], geometry: ImageGeometry, protocol: LocalizationProtocol
) -> NDArray[np.float64]:
    """Box of a localization map in pixels of the original image, for pictures and annotations.

    Args:
        loc_map: Map (h, w) on the patch grid, un-normalised.
        geometry: How the image got into the frame.
        protocol: The protocol, with one threshold; see :func:`~wsol_mm.evaluation.box_protocol.box_protocol`.

    Returns:
        Boxes (1, 4) float64, x0 y0 x1 y1 with exclusive ends, clipped to the image. A map without
        contrast gives the protocol's empty box.

    Raises:
        ValueError: If the protocol has several thresholds.
    """
    if len(protocol.thresholds) != 1:
        raise ValueError(
            f'protocol: expected one with one threshold, got {protocol.name!r} with '
            f'{len(protocol.thresholds)}'
        )
    single = replace(protocol, contours='largest', clip_ends=False)
    try:
        boxes = score_map_boxes(score_map(loc_map, geometry.frame, single), single)
    except ConstantMapError:
        boxes = empty_box((geometry.frame[1], geometry.frame[0]), single)[None]
    return frame_boxes_to_image(boxes, geometry)


def heat_on_image(
    loc_map: NDArray[np.floating], geometry: ImageGeometry, protocol: LocalizationProtocol
) -> NDArray[np.float32]:
    """Spread a localization map over the original image, in the place that the network saw.

    Args:
        loc_map: Map (h, w) on the patch grid, un-normalised.
        geometry: How the image got into the evaluation frame.
        protocol: How the map is enlarged and normalised.

    Returns:
        Map (H, W) in [0, 1] of the size of the original image, 0 outside the test crop and everywhere
        for a map without contrast.
    """
    width, height = geometry.image
    heat = np.zeros((height, width), np.float32)
    try:
        score = np.clip(score_map(loc_map, geometry.frame, protocol), 0, 1).astype(np.float32)
    except ConstantMapError:
        return heat
    x0, y0, x1, y1 = frame_in_image(geometry)
    heat[y0:y1, x0:x1] = cv2.resize(score, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    return heat


def ground_truth_in_frame(
    gt_boxes: NDArray[np.number], geometry: ImageGeometry, protocol: LocalizationProtocol
) -> NDArray[np.float64]:
    """The ground-truth boxes that count for a protocol, in frame pixels.

    Args:
        gt_boxes: Boxes (G, 4) in pixels of the original image, G >= 1, in the order of the annotation.
        geometry: How the image got into the frame.
        protocol: The protocol.

    Returns:
        Boxes (G', 4): all, or the first or last one.
    """
    chosen = {'all': slice(None), 'first': slice(0, 1), 'last': slice(-1, None)}[protocol.gt_boxes]
    return gt_boxes_to_frame(np.asarray(gt_boxes)[chosen], geometry, protocol.gt_conversion)


def _levels(score: NDArray[np.floating], protocol: LocalizationProtocol) -> LevelImage:
    thresholds = np.array(protocol.thresholds)
    if not protocol.quantize:
        return level_image(score, thresholds)
    quantized = quantize(score)
    return level_image(quantized, integer_thresholds(thresholds, int(quantized.max())))
