"""What one image contributes to an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wsol_mm.evaluation.functional.boxes import ImageGeometry
from wsol_mm.evaluation.map_boxes import ground_truth_in_frame
from wsol_mm.evaluation.protocols import LocalizationProtocol

import numpy as np

from .protocol_record import MapsByClass, ProtocolRecord, failed_record, make_record, rank_of_label
from .validity import all_finite

_REQUIRED = ('gt_label', 'pred_topk', 'loc_maps', 'loc_labels')


# A dataclass, not a named tuple: BaseMetric rebuilds tuples as plain ones when it moves results to the CPU.
@dataclass(frozen=True, slots=True)
class ImageRecord:
    """Record of one image: label, rank of the label among the top-5 (-1: outside), protocol records.

    ``protocols`` is None for an image without ground-truth boxes, which counts for classification only.
    ``failed`` marks an image that could not be read (meta field ``load_error``): it counts as wrong.
    ``finite`` is False where the model gave scores or maps that are NaN or infinite: no metric is valid.
    """

    label: int
    rank: int
    protocols: tuple[ProtocolRecord, ...] | None
    failed: bool = False
    finite: bool = True


def image_record(protocols: Sequence[LocalizationProtocol], sample: Mapping[str, Any]) -> ImageRecord:
    """Evaluate one image.

    Args:
        protocols: The protocols.
        sample: Its prediction and ground truth, as :class:`LocalizationMetric` reads them, in NumPy.

    Returns:
        The record.

    Raises:
        KeyError: If a field is missing, or a protocol needs a class whose map is not there.
    """
    for key in _REQUIRED:
        if key not in sample:
            raise KeyError(
                f'data sample: expected {key!r}, as LocalizationMetric reads it, got {sorted(sample)}'
            )
    label, ranked = int(np.reshape(sample['gt_label'], -1)[0]), np.asarray(sample['pred_topk'])
    failed = sample.get('load_error') is not None
    finite = failed or all_finite(sample)
    rank = -1 if failed else rank_of_label(label, ranked)
    gt_boxes = sample.get('gt_bboxes')
    if gt_boxes is None or not len(gt_boxes):
        return ImageRecord(label, rank, None, failed, finite)
    maps = MapsByClass(sample['loc_maps'], sample['loc_labels'], shared=len(protocols) > 1)
    without_map = sample.get('no_map_for', ())
    records = []
    for protocol in protocols:
        if failed or not finite or protocol.name in without_map:
            records.append(failed_record(protocol, maps, rank))
            continue
        geometry = ImageGeometry.from_metainfo(sample, protocol.frame_size)
        boxes = ground_truth_in_frame(gt_boxes, geometry, protocol)
        record = make_record(protocol, maps, label, ranked, boxes, geometry.frame)
        if not _is_published(geometry, protocol):
            record = replace(record, other_geometry=geometry.kind)
        records.append(record)
    return ImageRecord(label, rank, tuple(records), failed, finite)


def _is_published(geometry: ImageGeometry, protocol: LocalizationProtocol) -> bool:
    # A (nearly) square image looks alike, squashed or not.
    square = geometry.resized[0] == geometry.resized[1] and geometry.keeps_aspect
    return square or geometry.kind == protocol.geometry
