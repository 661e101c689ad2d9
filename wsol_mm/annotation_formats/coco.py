"""COCO instances: one JSON file."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from .image_annotation import Annotations

_DECIMALS = 2


def write_coco(annotations: Annotations, out: Path) -> None:
    """Write a COCO instances file, item by item.

    Categories are numbered from 1 in the order of the classes, images by their place in the list. An
    annotation has ``bbox`` (x, y, width, height, to a hundredth of a pixel), ``area``, ``iscrowd`` 0, an
    empty ``segmentation`` and, beyond the format, the ``score`` of its class and the ``confidence`` of the
    box. Images without boxes are listed. ``info`` has the ``description`` and, if it is known, where the
    ``labels`` come from.

    Args:
        annotations: What to write.
        out: File to write.
    """
    info = {'description': annotations.description}
    if annotations.labels is not None:
        info['labels'] = annotations.labels
    categories = [{'id': i, 'name': name} for i, name in enumerate(annotations.classes, 1)]
    with open(out, 'w', encoding='utf-8', newline='\n') as file:
        file.write(f'{{"info": {json.dumps(info)},\n"categories": {json.dumps(categories)},\n"images": [')
        file.writelines(_joined(_images(annotations)))
        file.write('\n],\n"annotations": [')
        file.writelines(_joined(_instances(annotations)))
        file.write('\n]}\n')


def _joined(entries: Iterable[dict]) -> Iterator[str]:
    for number, entry in enumerate(entries):
        yield f'{"," if number else ""}\n{json.dumps(entry)}'


def _images(annotations: Annotations) -> Iterator[dict]:
    for image in annotations.read():
        width, height = image.size
        yield {'id': image.number, 'file_name': image.path, 'width': width, 'height': height}


def _instances(annotations: Annotations) -> Iterator[dict]:
    number = 0
    for image in annotations.read():
        for label, score, box, confidence in image.rows():
            x0, y0, x1, y1 = (round(value, _DECIMALS) for value in box)
            width, height = round(x1 - x0, _DECIMALS), round(y1 - y0, _DECIMALS)
            number += 1
            yield {
                'id': number,
                'image_id': image.number,
                'category_id': label + 1,
                'bbox': [x0, y0, width, height],
                'area': round(width * height, _DECIMALS),
                'iscrowd': 0,
                'segmentation': [],
                'score': round(score, 6),
                'confidence': round(confidence, 6),
            }
