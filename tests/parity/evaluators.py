"""The evaluation of maps by a protocol, as :class:`LocalizationMetric` does it, without a data set."""

from collections.abc import Iterable, Sequence

from wsol_mm.evaluation.functional import ConstantMapError
from wsol_mm.evaluation.map_boxes import empty_map_iou, localization_map_iou
from wsol_mm.evaluation.metrics.protocol_record import MapsByClass, make_record, rank_of_label
from wsol_mm.evaluation.metrics.protocol_summary import ProtocolCounts, summarize
from wsol_mm.evaluation.protocols import LocalizationProtocol

import numpy as np
import torch
from numpy.typing import NDArray


def top_classes(logits: NDArray, k: int = 5) -> NDArray:
    """Return the k best classes of every image."""
    return torch.from_numpy(np.asarray(logits)).topk(min(k, logits.shape[1]), dim=1).indices.numpy()


def evaluate(
    protocol: LocalizationProtocol,
    maps: Sequence[MapsByClass],
    labels: NDArray,
    ranked: NDArray,
    gt_boxes: Sequence[NDArray],
    size: tuple[int, int],
) -> tuple[ProtocolCounts, dict[str, float]]:
    """Return counts and metrics from boxes in the frame."""
    records = [
        make_record(protocol, *sample, size) for sample in zip(maps, labels, ranked, gt_boxes, strict=True)
    ]
    ranks = np.array([rank_of_label(*pair) for pair in zip(labels, ranked, strict=True)])
    counts = ProtocolCounts.from_records(protocol, records, labels, ranks)
    return counts, summarize(protocol, counts)[0]


def boxes_and_iou(
    protocol: LocalizationProtocol,
    loc_maps: Iterable[NDArray],
    gt_boxes: Sequence[NDArray],
    size: tuple[int, int],
) -> tuple[NDArray, NDArray]:
    """Return boxes (N, T, 4) and best IoU (N, T) of one map per sample."""
    results = []
    for loc_map, boxes in zip(loc_maps, gt_boxes, strict=True):
        try:
            results.append(localization_map_iou(loc_map, boxes, size, protocol))
        except ConstantMapError:
            results.append(empty_map_iou(boxes, size, protocol))
    return np.stack([result.boxes for result in results]), np.stack([result.iou for result in results])


def all_classes(maps: Iterable[NDArray]) -> list[MapsByClass]:
    """Return the maps of every sample with their classes."""
    return [MapsByClass(sample, np.arange(len(sample))) for sample in maps]


def accuracy(labels: NDArray, ranked: NDArray, k: int) -> float:
    """Return the share of images whose label is among the k best, in percent."""
    return 100.0 * float(np.mean((ranked[:, :k] == labels[:, None]).any(axis=1)))
