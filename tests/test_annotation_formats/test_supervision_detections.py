"""Results as detections of supervision, and back to what every format writes."""

from wsol_mm.annotation_formats.supervision_detections import from_detections, to_detections
from wsol_mm.apis import LocalizationResult

import numpy as np
import pytest

supervision = pytest.importorskip('supervision')

RESULT = LocalizationResult(
    path='photos/cat/1.jpg',
    size=(100, 80),
    labels=[3, 0],
    classes=['cat', 'dog'],
    scores=[0.75, 0.25],
    boxes=np.array([[1.0, 2, 30, 40], [5, 5, 9, 9]]),
    confidences=[0.625, 0.0],
    found=np.array([True, False]),
    pred_scores=np.array([0.25, 0, 0, 0.75], np.float32),
    pred_topk=[3, 0],
    map_labels=[3, 0],
)


def test_there_and_back():
    detections = to_detections(RESULT)
    assert len(detections) == 1  # the second box was not found
    assert (detections.class_id[0], detections.confidence[0]) == (3, 0.625)
    assert detections.data['class_name'].tolist() == ['cat']
    assert detections.data['class_score'].tolist() == [0.75]
    kept = detections[detections.confidence > 0.5]
    image = from_detections(kept, 'cat/1.jpg', RESULT.size)
    assert image == (1, 'cat/1.jpg', 'cat/1', (100, 80), [3], [0.75], [[1, 2, 30, 40]], [0.625])


def test_detections_without_classes_or_confidence():
    empty = from_detections(supervision.Detections.empty(), '1.jpg', (10, 10))
    assert (empty.labels, empty.scores, empty.boxes) == ([], [], [])
    boxes = np.array([[1.0, 2, 3, 4]])
    plain = from_detections(supervision.Detections(boxes, class_id=np.array([1])), 'a', (9, 9))
    assert plain.scores == plain.confidences == [1.0]
    detector = supervision.Detections(boxes, confidence=np.array([0.5]), class_id=np.array([1]))
    assert from_detections(detector, 'a', (9, 9)).scores == [0.5]
    with pytest.raises(ValueError, match='expected the class of every box, got none'):
        from_detections(supervision.Detections(boxes), '1.jpg', (10, 10))
