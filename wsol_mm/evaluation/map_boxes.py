"""One localization map under protocols: score map, boxes, IoU at every threshold, heat on the image."""

from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .functional.box_confidence import box_confidence, box_evidence
from .functional.boxes import (
    ImageGeometry,
    box_iou,
    frame_boxes_to_image,
    frame_in_image,
    gt_boxes_to_frame,
    suppress_overlapping,
)
from .functional.regions import RegionFinder, Regions, best_iou_per_level, region_boxes
from .functional.score_maps import (
    ConstantMapError,
    enlarge,
    make_score_map,
    min_max_normalize,
    normalized_codes,
)
from .functional.thresholding import level_image, quantize, share_table
from .protocols import LocalizationProtocol

#: Of many boxes: the smallest region, as a share of the pixels of the largest one of its map, ...
SMALLEST_REGION = 0.25
#: ... and the largest IoU of two boxes of a map.
MOST_OVERLAP = 0.5


class MapIoU(NamedTuple):
    """Best IoU over predicted and ground-truth boxes at every threshold of a protocol.

    Attributes:
        iou: Best IoU per threshold (T,), float64.
        make_boxes: Makes ``boxes``, which few ask for.
    """

    iou: NDArray[np.float64]
    make_boxes: Callable[[], NDArray[np.float64]] | None

    @property
    def boxes(self) -> NDArray[np.float64] | None:
        """Boxes per threshold (T, 4) in frame pixels, or None where all contours count."""
        return None if self.make_boxes is None else self.make_boxes()


class SharedSteps:
    """Steps of the evaluation of one score map, each made once for all protocols that take it.

    Protocols share a step where it makes the same of the same: 8-bit codes and levels those that quantize
    alike and have equal thresholds, the components of the levels all of them.

    Args:
        score: Score map (H, W), or what becomes one by min-max, which may take its place.
        normalize_eps: What is added to the divisor of the min-max; None: the map is normalised.
    """

    def __init__(self, score: NDArray[np.floating], normalize_eps: float | None = None) -> None:
        self.shape = score.shape
        self._map = score
        self._eps = normalize_eps
        self._made: dict[Hashable, Any] = {}

    def boxes(self, protocol: LocalizationProtocol) -> NDArray[np.float64]:
        """Box of the largest region at every threshold, see :func:`score_map_boxes`."""
        finder, index = self._regions(protocol)
        return _finish_at(self._largest(finder, protocol), index, self.shape, protocol)

    def iou(self, gt_boxes: NDArray[np.number], protocol: LocalizationProtocol) -> MapIoU:
        """Best IoU with the ground truth at every threshold, see :func:`score_map_iou`."""
        finder, index = self._regions(protocol)
        if protocol.contours == 'largest' and finder.num_levels == 1:
            finished = _finish_at(self._largest(finder, protocol), index, self.shape, protocol)
            return MapIoU(box_iou(finished, gt_boxes, protocol.inclusive_iou).max(axis=1), lambda: finished)
        if protocol.contours == 'all':
            make_boxes, regions = None, _once(self._made, (finder, 'all'), finder.all)
        else:
            boxes, places = self._largest(finder, protocol), np.arange(finder.num_levels, dtype=np.int32)
            regions = Regions(boxes, places, places)
            # Of the map only what they need: memory that is free again is still in the caches.
            make_boxes = partial(_finish_at, boxes, index, self.shape, protocol)
        height, width = self.shape
        best = best_iou_per_level(
            regions,
            gt_boxes,
            finder.num_levels,
            (width - 1, height - 1) if protocol.clip_ends else (np.inf, np.inf),
            protocol.inclusive_iou,
        )
        if best.min() < 0:
            empty = box_iou(empty_box(self.shape, protocol)[None], gt_boxes, protocol.inclusive_iou).max()
            best[best < 0] = empty
        return MapIoU(best[index], make_boxes)

    def foreground(self, protocol: LocalizationProtocol) -> NDArray[np.bool_]:
        """What is above the lowest threshold (H, W)."""
        finder, _ = self._regions(protocol)
        return finder.levels > 0

    def _largest(self, finder: RegionFinder, protocol: LocalizationProtocol) -> NDArray[np.int32]:
        """Box of the largest region above every level, -1 where there is none."""
        return _once(self._made, (finder, protocol.region), lambda: finder.largest(protocol.region))

    def _regions(self, protocol: LocalizationProtocol) -> tuple[RegionFinder, NDArray[np.int64]]:
        """Regions above every level, and the level of every threshold (T,)."""

        def make() -> tuple[RegionFinder, NDArray[np.int64]]:
            if protocol.quantize:
                # The kernel is compiled code, as the region finder's of several levels: with one, neither.
                many = len(protocol.thresholds) > 1
                codes = _once(self._made, 'codes', lambda: self._codes(many))
                table, num_levels, index = share_table(protocol.taus_key, int(codes.max()))
                return RegionFinder(codes, num_levels, table), index
            levels, num_levels, index = level_image(self._score(), protocol.taus)
            return RegionFinder(levels, num_levels), index

        return _once(self._made, (protocol.quantize, protocol.taus_key), make)

    def _score(self) -> NDArray[np.floating]:
        if self._eps is not None:
            self._map = min_max_normalize(self._map, self._eps, overwrite=True)
            self._eps = None
        return self._map

    def _codes(self, compiled: bool) -> NDArray[np.uint8]:
        if compiled and self._eps is not None:
            return normalized_codes(self._map, self._eps)
        return quantize(self._score())


class EvaluatedMap:
    """One localization map, enlarged and normalised once for all protocols that do it alike.

    Args:
        loc_map: Map (h, w) on the patch grid, un-normalised.
    """

    def __init__(self, loc_map: NDArray[np.floating]) -> None:
        self.loc_map = loc_map
        self._made: dict[Hashable, Any] = {}

    def iou(
        self, gt_boxes: NDArray[np.number], size: tuple[int, int], protocol: LocalizationProtocol
    ) -> MapIoU:
        """Best IoU with the ground truth at every threshold, see :func:`localization_map_iou`."""
        return self._steps(size, protocol).iou(gt_boxes, protocol)

    def _steps(self, size: tuple[int, int], protocol: LocalizationProtocol) -> SharedSteps:
        key = size, protocol.dtype, protocol.interpolation, protocol.normalize, protocol.normalize_eps
        _check_contrast(self.loc_map, protocol)

        def make() -> SharedSteps:
            if protocol.normalize != 'after_resize':
                return SharedSteps(score_map(self.loc_map, size, protocol))
            enlarged = enlarge(self.loc_map, size, protocol.dtype, protocol.interpolation)
            return SharedSteps(enlarged, protocol.normalize_eps)

        return _once(self._made, key, make)


def _once(made: dict[Hashable, Any], key: Hashable, make: Callable[[], Any]) -> Any:
    """Return what ``make`` returned, or raise the :class:`ConstantMapError` it raised, when first asked."""
    if key not in made:
        try:
            made[key] = make()
        except ConstantMapError as error:
            # A copy: the error itself would keep the frames of its traceback, and with them the maps.
            made[key] = ConstantMapError(*error.args)
    if isinstance(made[key], ConstantMapError):
        raise ConstantMapError(*made[key].args)
    return made[key]


def _check_contrast(loc_map: NDArray[np.floating], protocol: LocalizationProtocol) -> None:
    """Raise a :class:`ConstantMapError` for a map that counts as constant."""
    if protocol.least_contrast and np.ptp(loc_map) < protocol.least_contrast:
        raise ConstantMapError(
            f'loc_map: expected values that differ by {protocol.least_contrast:g}, got {np.ptp(loc_map):.3g}'
        )


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
    _check_contrast(loc_map, protocol)
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
    return SharedSteps(score).boxes(protocol)


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
    return SharedSteps(score).iou(gt_boxes, protocol)


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
    return EvaluatedMap(loc_map).iou(gt_boxes, size, protocol)


def empty_map_iou(
    gt_boxes: NDArray[np.number], size: tuple[int, int], protocol: LocalizationProtocol
) -> MapIoU:
    """The score of a map without contrast: the protocol's empty box at every threshold."""
    boxes = np.repeat(empty_box((size[1], size[0]), protocol)[None], len(protocol.thresholds), axis=0)
    return MapIoU(box_iou(boxes, gt_boxes, protocol.inclusive_iou).max(axis=1), lambda: boxes)


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


def _finish_at(
    boxes: NDArray[np.int32],
    index: NDArray[np.int64],
    shape: tuple[int, ...],
    protocol: LocalizationProtocol,
) -> NDArray[np.float64]:
    """Finish the boxes of levels, and take those of the thresholds (T, 4)."""
    return finish_boxes(boxes, shape, protocol)[index]


def one_box(protocol: LocalizationProtocol) -> LocalizationProtocol:
    """Return a protocol as boxes are made for pictures and annotations: the largest region, exclusive ends.

    Args:
        protocol: The protocol, with one threshold.

    Raises:
        ValueError: If it has several.
    """
    if len(protocol.thresholds) != 1:
        raise ValueError(
            f'protocol: expected one with one threshold, got {protocol.name!r} with '
            f'{len(protocol.thresholds)}'
        )
    return replace(protocol, contours='largest', clip_ends=False)


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
    single = one_box(protocol)
    try:
        boxes = score_map_boxes(score_map(loc_map, geometry.frame, single), single)
    except ConstantMapError:
        boxes = empty_box((geometry.frame[1], geometry.frame[0]), single)[None]
    return frame_boxes_to_image(boxes, geometry)


def confident_boxes(
    loc_map: NDArray[np.floating],
    geometry: ImageGeometry,
    protocol: LocalizationProtocol,
    many: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes of a localization map in pixels of the original image, and how far each can be trusted.

    Args:
        loc_map: Map (h, w) on the patch grid, un-normalised.
        geometry: How the image got into the frame.
        protocol: The protocol, with one threshold.
        many: Not only the box of :func:`predict_boxes`, but one of each region above the threshold of at
            least :data:`SMALLEST_REGION` of the pixels of the largest one. Of boxes that overlap by an IoU
            above :data:`MOST_OVERLAP`, the most certain stays.

    Returns:
        Boxes (N, 4) float64, x0 y0 x1 y1 with exclusive ends, clipped to the image, the most certain first,
        and their confidences (N,) in [0, 1]. A map without contrast gives the protocol's empty box with
        confidence 0.

    Raises:
        ValueError: If the protocol has several thresholds.
    """
    single = one_box(protocol)
    try:
        boxes, evidence = frame_boxes_with_evidence(loc_map, geometry.frame, single, many)
    except ConstantMapError:
        empty = empty_box((geometry.frame[1], geometry.frame[0]), single)[None]
        return frame_boxes_to_image(empty, geometry), np.zeros(1)
    # Not all protocols refuse a map without contrast.
    flat = not loc_map.max() > loc_map.min()
    confidences = np.zeros(len(boxes)) if flat else box_confidence(evidence)
    kept = suppress_overlapping(boxes, confidences, MOST_OVERLAP)
    return frame_boxes_to_image(boxes[kept], geometry), confidences[kept]


def frame_boxes_with_evidence(
    loc_map: NDArray[np.floating],
    size: tuple[int, int],
    protocol: LocalizationProtocol,
    many: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes of a localization map in frame pixels, and what the map tells of them.

    Args:
        loc_map: Map (h, w) on the patch grid, un-normalised.
        size: Width and height of the frame.
        protocol: The protocol, with one threshold and one box.
        many: Boxes of all regions that are not too small.

    Returns:
        Boxes (N, 4), and their evidence (N, E), see
        :func:`~wsol_mm.evaluation.functional.box_confidence.box_evidence`.

    Raises:
        ConstantMapError: If the map has no contrast.
    """
    score = score_map(loc_map, size, protocol)
    steps = SharedSteps(score)
    connectivity = 4 if protocol.region == 'pixels_4' else 8
    boxes = steps.boxes(protocol)
    if many:
        regions, pixels = region_boxes(steps.foreground(protocol), connectivity)
        if len(regions):
            boxes = regions[pixels >= SMALLEST_REGION * pixels[0]].astype(np.float64)
    return boxes, box_evidence(score, boxes, protocol.thresholds[0], connectivity)


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
