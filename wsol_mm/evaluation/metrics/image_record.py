"""What one image contributes to an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from wsol_mm.evaluation.functional.boxes import ImageGeometry
from wsol_mm.evaluation.map_boxes import ground_truth_in_frame
from wsol_mm.evaluation.protocols import LocalizationProtocol

import numpy as np
from numpy.typing import NDArray

from .protocol_record import MapsByClass, ProtocolRecord, failed_record, make_record, rank_of_label


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


class EvaluatedImage(NamedTuple):
    """What the record of an image is made of.

    ``geometries`` has one for each protocol, None where its map counts as wrong; it is None without boxes.
    """

    name: str
    label: int
    ranked: NDArray[np.integer]
    failed: bool
    finite: bool
    maps: MapsByClass
    gt_boxes: NDArray[np.number]
    geometries: list[ImageGeometry | None] | None


def image_record(protocols: Sequence[LocalizationProtocol], image: EvaluatedImage) -> ImageRecord:
    """Evaluate one image.

    Args:
        protocols: The protocols.
        image: Its prediction and ground truth.

    Returns:
        The record.

    Raises:
        Exception: What is wrong with a map; the message begins with the image's name.
    """
    rank = -1 if image.failed else rank_of_label(image.label, image.ranked)
    if image.geometries is None:
        return ImageRecord(image.label, rank, None, image.failed, image.finite)
    try:
        records = tuple(
            failed_record(protocol, image.maps, rank)
            if geometry is None
            else make_record(
                protocol,
                image.maps,
                image.label,
                image.ranked,
                ground_truth_in_frame(image.gt_boxes, geometry, protocol),
                geometry.frame,
            )
            for protocol, geometry in zip(protocols, image.geometries, strict=True)
        )
    except Exception as error:
        # The type stays; which image it was is known here alone.
        reason = error.args[0] if error.args else type(error).__name__
        error.args = (f'{image.name}: {reason}', *error.args[1:])
        raise
    return ImageRecord(image.label, rank, records, image.failed, image.finite)
