"""The ``Detections`` of the package supervision: from results, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .image_annotation import ImageAnnotation

if TYPE_CHECKING:
    from wsol_mm.apis.localization_result import LocalizationResult

    from supervision import Detections


def to_detections(result: LocalizationResult) -> Detections:
    """Turn a result into detections: its boxes that were found.

    Args:
        result: A result of ``LocalizationInferencer``.

    Returns:
        ``xyxy`` (N, 4), ``class_id``, the ``confidence`` of the boxes, and of their classes the names as
        ``data['class_name']`` and the scores as ``data['class_score']``.

    Raises:
        ImportError: If supervision is not installed.
    """
    try:
        from supervision import Detections
    except ImportError as error:
        raise ImportError(
            f'supervision: expected the package, got none ({error}): pip install supervision'
        ) from error
    found = result.found
    return Detections(
        xyxy=result.boxes[found].astype(np.float32),
        confidence=np.asarray(result.confidences, np.float32)[found],
        class_id=np.asarray(result.labels, int)[found],
        data={
            'class_name': np.asarray(result.classes, str)[found],
            'class_score': np.asarray(result.scores, np.float32)[found],
        },
    )


def from_detections(
    detections: Detections, path: str, size: tuple[int, int], number: int = 1, name: str | None = None
) -> ImageAnnotation:
    """Turn detections into the annotation of an image, which all formats write.

    Args:
        detections: With ``class_id``; a missing ``confidence`` counts as 1, and a missing
            ``data['class_score']``, as of detectors, is the confidence.
        path: Of the image, relative to its folder.
        size: Width and height of the image.
        number: Place of the image in the list of all, from 1.
        name: What a file of its own is called; None for the path without extension.

    Returns:
        The annotation.

    Raises:
        ValueError: If there are boxes without a class.
    """
    if detections.class_id is None and len(detections):
        raise ValueError('detections.class_id: expected the class of every box, got none')
    labels = [] if detections.class_id is None else detections.class_id.tolist()
    confidence = detections.confidence
    confidences = [1.0] * len(labels) if confidence is None else confidence.astype(float).tolist()
    scores = np.asarray(detections.data.get('class_score', confidences), float).tolist()
    stem = path.rpartition('.')[0] or path
    boxes = detections.xyxy.astype(float).tolist()
    return ImageAnnotation(number, path, name or stem, size, labels, scores, boxes, confidences)
