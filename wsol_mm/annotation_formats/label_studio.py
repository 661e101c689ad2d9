"""Label Studio: tasks with predicted rectangles, which reviewers accept or correct there."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from wsol_mm.utils.file_names import printable

from .image_annotation import Annotations, ImageAnnotation

#: How an image is named whose folder is the root of Label Studio's local files.
LOCAL_FILES = '/data/local-files/?d='
_DECIMALS = 4


def write_label_studio(annotations: Annotations, out: Path) -> None:
    """Write a JSON list with a task for every image, item by item.

    ``data.image`` is the address of the image as a local file of Label Studio, relative to the image folder.
    The boxes are ``predictions`` of the tags ``label`` and ``image``, in per cent of the image, with their
    confidence as ``score``, by which tasks are sorted; an image without boxes has an empty prediction.

    Args:
        annotations: What to write.
        out: File to write.
    """
    with open(out, 'w', encoding='utf-8', newline='\n') as file:
        file.write('[')
        for number, task in enumerate(_tasks(annotations)):
            file.write(f'{"," if number else ""}\n{json.dumps(task)}')
        file.write('\n]\n')


def rectangles(image: ImageAnnotation, classes: Sequence[str]) -> list[dict]:
    """Return the boxes of an image as results of the tags ``label`` and ``image``.

    Args:
        image: The image.
        classes: Names by index.

    Returns:
        A region for each box, in per cent of the image, with its confidence as ``score``.
    """
    width, height = image.size
    regions = []
    for place, (label, _, (x0, y0, x1, y1), confidence) in enumerate(image.rows()):
        shares = (100 * x0 / width, 100 * y0 / height, 100 * (x1 - x0) / width, 100 * (y1 - y0) / height)
        value = dict(zip(('x', 'y', 'width', 'height'), (round(s, _DECIMALS) for s in shares), strict=True))
        regions.append(
            {
                'id': f'{image.number}_{place}',
                'type': 'rectanglelabels',
                'from_name': 'label',
                'to_name': 'image',
                'original_width': width,
                'original_height': height,
                'image_rotation': 0,
                'score': round(confidence, 6),
                'value': {**value, 'rotation': 0, 'rectanglelabels': [classes[label]]},
            }
        )
    return regions


def _tasks(annotations: Annotations) -> Iterator[dict]:
    for image in annotations.read():
        prediction: dict = {
            'model_version': printable(annotations.description),
            'result': rectangles(image, annotations.classes),
        }
        if image.confidences:
            prediction['score'] = round(min(image.confidences), 6)
        address = LOCAL_FILES + quote(image.path, errors='surrogateescape')
        yield {'id': image.number, 'data': {'image': address}, 'predictions': [prediction]}
