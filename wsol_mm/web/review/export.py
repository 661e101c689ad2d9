"""What a review gives back: COCO again, with what was checked and by which means."""

from pathlib import Path
from typing import Any

from wsol_mm.utils.whole_files import write_json

from .review_set import CORRECTED, DRAWN, PREDICTED, RIGHT, WRONG, Box, ReviewImage, ReviewSet

#: What is said of a checked box that nobody has changed.
ACCEPTED = 'accepted'


def export_review(review: ReviewSet, out: Path, only_right: bool = False) -> dict[str, int]:
    """Write the annotations as they are now, whole or not at all.

    A checked image has ``review``: its ``verdict`` (``right`` or ``wrong``), ``by`` whom and when (``time``),
    and under ``rejected`` the annotations of before that are none any more: deleted ones, and all of an image
    that is wrong. Each annotation of an image that is right has ``review``: ``accepted``, ``corrected`` or
    ``drawn``. What was changed by hand has no ``score`` and no ``confidence``, which were those of another
    box; ``predicted`` keeps the former ``bbox`` and ``category_id``.

    Args:
        review: The review.
        out: File to write.
        only_right: Leave out images that are not checked, or wrong.

    Returns:
        Number of ``images`` and ``annotations`` written, and of images by verdict.
    """
    with review.lock:
        content, written = _content(review, only_right)
    write_json(out, content, indent=None)
    return written


def _content(review: ReviewSet, only_right: bool) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the content of the file, and how much of what is in it."""
    counts = review.counts()
    images, annotations = [], []
    taken = [number for image in review.images.values() for number in image.originals]
    free = max([*taken, *(group['id'] for group in review.groups)], default=0) + 1
    for image_id, image in review.images.items():
        state = image.state
        if only_right and state.verdict != RIGHT:
            continue
        entry = dict(image.entry)
        current = () if state.verdict == WRONG else state.boxes
        if state.verdict is not None:
            kept = {box.id for box in current}
            rejected = [original for number, original in image.originals.items() if number not in kept]
            entry['review'] = {'verdict': state.verdict, 'by': state.by, 'time': state.time}
            if rejected:
                entry['review']['rejected'] = rejected
        images.append(entry)
        for box in current:
            number = box.id
            if number is None:
                number, free = free, free + 1
            annotations.append(_annotation(image, image_id, box, number))
    annotations += [] if only_right else review.groups
    summary = {
        'images': counts['all'],
        **{key: counts[key] for key in ('checked', RIGHT, CORRECTED, WRONG)},
    }
    info = {**(review.rest.get('info') or {}), 'review': summary}
    content = {**review.rest, 'info': info, 'images': images, 'annotations': annotations}
    written = {'images': len(images), 'annotations': len(annotations)}
    return content, written | {key: counts[key] for key in (RIGHT, CORRECTED, WRONG)}


def _annotation(image: ReviewImage, image_id: int, box: Box, number: int) -> dict[str, Any]:
    means = image.means(box)
    original = None if box.id is None else image.originals[box.id]
    same = original is not None and (original['category_id'], tuple(map(float, original['bbox']))) == (
        box.category,
        box.bbox,
    )
    if same:
        annotation = dict(original or {})
    else:
        annotation = {
            'id': number,
            'image_id': image_id,
            'category_id': box.category,
            'bbox': list(box.bbox),
            'area': round(box.bbox[2] * box.bbox[3], 2),
            'iscrowd': 0,
            'segmentation': [],
        }
        if original is not None and means == CORRECTED:
            annotation['predicted'] = original.get(
                'predicted', {key: original[key] for key in ('bbox', 'category_id')}
            )
    if image.state.verdict == RIGHT:
        annotation['review'] = {PREDICTED: ACCEPTED, CORRECTED: CORRECTED, DRAWN: DRAWN}[means]
    return annotation
