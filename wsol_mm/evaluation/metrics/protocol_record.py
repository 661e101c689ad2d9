"""What one image contributes to one protocol."""

from dataclasses import dataclass

from wsol_mm.evaluation.functional.error_breakdown import OUTCOMES, localization_outcome
from wsol_mm.evaluation.functional.score_maps import ConstantMapError
from wsol_mm.evaluation.map_boxes import EvaluatedMap, MapIoU, empty_map_iou, is_empty
from wsol_mm.evaluation.protocols import LocalizationProtocol

import numpy as np
from numpy.typing import NDArray

# Ranks for which Top-k numbers are made; no protocol looks at more predicted classes than the last.
TOP_K = (1, 5)


@dataclass(frozen=True, slots=True)
class ProtocolRecord:
    """Result of one image under one protocol: bits, nothing that grows with the image.

    Attributes:
        known: Packed bits (K, criteria, T): hit by a map that serves rank < k, whatever its class.
            K is 1 unless the protocol ranks maps.
        labelled: Packed bits (criteria, T): hit by the map that counts for the label.
        outcome: Index into ``OUTCOMES``, or -1.
        constant_maps: Number of maps without contrast.
        map_kind: 'label', 'predicted', 'ranked' or 'agnostic': the map that was really used.
        empty_maps: Number of maps of which nothing is above the threshold.
        other_geometry: How the image got into the frame, where the protocol was published with another way.
    """

    known: NDArray[np.uint8]
    labelled: NDArray[np.uint8]
    outcome: int
    constant_maps: int
    map_kind: str
    empty_maps: int = 0
    other_geometry: str | None = None


class MapsByClass:
    """The localization maps of one image, looked up by class.

    Args:
        maps: Maps (K, h, w).
        labels: Class of each map (K,); -1 marks class-agnostic maps, of which the first counts.
        shared: Whether several protocols will read them: what one makes of a map is kept for the next then.
    """

    def __init__(self, maps: NDArray[np.floating], labels: NDArray[np.integer], shared: bool = False) -> None:
        self.maps = np.asarray(maps)
        self.labels = np.asarray(labels)
        self.agnostic = len(self.labels) > 0 and bool((self.labels == -1).all())
        self._evaluated: dict[int, EvaluatedMap] | None = {} if shared else None

    def __getitem__(self, label: int) -> NDArray[np.floating]:
        return self.maps[self._index(label)]

    def evaluated(self, label: int) -> EvaluatedMap:
        """Map of a class, with what earlier protocols have made of it."""
        index = self._index(label)
        if self._evaluated is None:
            return EvaluatedMap(self.maps[index])
        return self._evaluated.setdefault(index, EvaluatedMap(self.maps[index]))

    def _index(self, label: int) -> int:
        if self.agnostic:
            return 0
        labels = self.labels.tolist()
        if label not in labels:
            raise KeyError(
                f'loc_labels: expected a map of class {label}, got maps of {labels}. Raise map_topk of the '
                'head'
            )
        return labels.index(label)


def rank_of_label(label: int, ranked: NDArray[np.integer]) -> int:
    """Position of the label among the predicted classes, -1 if it is not there."""
    position = np.flatnonzero(ranked == label)
    return int(position[0]) if position.size else -1


def failed_record(protocol: LocalizationProtocol, maps: MapsByClass, rank: int = -1) -> ProtocolRecord:
    """The record of an image that could not be read, or without a usable map: right at no threshold.

    Args:
        protocol: The protocol.
        maps: Localization maps of the image that stood in, or what stands in for maps.
        rank: Rank of the label among the predicted classes, -1 if outside.

    Returns:
        The record.
    """
    bits = len(protocol.criteria) * len(protocol.thresholds)
    kind = _map_kind(protocol, maps)
    nothing = np.packbits(np.zeros(bits, bool))
    known = np.packbits(np.zeros(bits * len(TOP_K), bool)) if kind == 'ranked' else nothing
    outcome = OUTCOMES.index('other' if rank == 0 else 'classification') if protocol.error_breakdown else -1
    return ProtocolRecord(known, nothing, outcome, 0, kind)


def _map_kind(protocol: LocalizationProtocol, maps: MapsByClass) -> str:
    return 'agnostic' if maps.agnostic else protocol.map_source


def wanted_classes(
    protocol: LocalizationProtocol, maps: MapsByClass, label: int, ranked: NDArray[np.integer]
) -> list[int]:
    """Classes whose maps a protocol reads, in the order of its records.

    Args:
        protocol: The protocol.
        maps: Localization maps of an image.
        label: Its ground-truth class.
        ranked: Predicted classes, best first.

    Returns:
        The classes; of a class-agnostic map one, whatever it is.
    """
    kind = _map_kind(protocol, maps)
    if kind == 'label':
        return [label]
    return [int(predicted) for predicted in ranked[: TOP_K[-1] if kind == 'ranked' else 1]]


def make_record(
    protocol: LocalizationProtocol,
    maps: MapsByClass,
    label: int,
    ranked: NDArray[np.integer],
    frame_boxes: NDArray[np.number],
    size: tuple[int, int],
) -> ProtocolRecord:
    """Evaluate the maps of one image under one protocol.

    Args:
        protocol: The protocol.
        maps: Localization maps of the label and of the predicted classes, or a class-agnostic one.
        label: Ground-truth class.
        ranked: Predicted classes, best first (at least five where the model has as many).
        frame_boxes: Ground-truth boxes (G, 4) in frame pixels, G >= 1.
        size: Width and height of the evaluation frame.

    Returns:
        The record.

    Raises:
        KeyError: If the map of a wanted class is missing.
    """
    kind = _map_kind(protocol, maps)
    constant = empty = 0
    results: list[MapIoU] = []
    for wanted in wanted_classes(protocol, maps, label, ranked):
        loc_map = maps.evaluated(wanted)
        try:
            results.append(loc_map.iou(frame_boxes, size, protocol))
            empty += is_empty(loc_map.loc_map, protocol)
        except ConstantMapError:
            constant += 1
            results.append(empty_map_iou(frame_boxes, size, protocol))
    iou = np.stack([result.iou for result in results])
    hits = np.stack([iou > level if strict else iou >= level for level, strict in protocol.criteria], axis=1)
    rank = rank_of_label(label, ranked)
    if kind == 'ranked':
        known = np.stack([hits[:k].any(axis=0) for k in TOP_K])
        labelled = hits[rank] if rank >= 0 else np.zeros_like(hits[0])
    else:
        known, labelled = hits[:1], hits[0]
    outcome = -1
    if protocol.error_breakdown:
        boxes = results[0].boxes
        assert boxes is not None, 'one threshold and one box: LocalizationProtocol sees to it'
        outcome = OUTCOMES.index(
            localization_outcome(boxes[0], frame_boxes, rank == 0, protocol.inclusive_iou)
        )
    return ProtocolRecord(np.packbits(known), np.packbits(labelled), outcome, constant, kind, empty)
