"""labelme: a folder with one JSON file per image."""

import json
import os
from pathlib import Path
from typing import Any

from wsol_mm.utils.file_names import fitting_name

from .image_annotation import Annotations, write_text

#: Version of the format, which labelme compares with its own.
_VERSION = '5.5.0'
_DECIMALS = 2


def write_labelme(annotations: Annotations, out: Path) -> None:
    """Write ``<out>/<name>.json`` for every image, those without boxes included.

    The file refers to its image by a path relative to itself, so that labelme opens it in place.
    The description of a box, which labelme shows, has its confidence and the score of its class.

    Args:
        annotations: What to write.
        out: Folder to write; the paths to the images hold for folders in the same place.

    Raises:
        ValueError: If the images are no local files.
    """
    if annotations.image_folder is None:
        raise ValueError(f'{out}: expected images in local files, which labelme opens in place, got others')
    images, target = annotations.image_folder.resolve(), out.resolve()
    for image in annotations.read():
        file = target / fitting_name(image.name, '.json')
        width, height = image.size
        shapes: list[dict] = []
        for label, score, box, confidence in image.rows():
            x0, y0, x1, y1 = (round(value, _DECIMALS) for value in box)
            shapes.append(
                {
                    'label': annotations.classes[label],
                    'points': [[x0, y0], [x1, y1]],
                    'group_id': None,
                    'description': f'confidence {confidence:.3f}, class score {score:.3f}',
                    'shape_type': 'rectangle',
                    'flags': {},
                }
            )
        content: dict[str, Any] = {
            'version': _VERSION,
            'flags': {},
            'shapes': shapes,
            'imagePath': os.path.relpath(images / image.path, file.parent).replace(os.sep, '/'),
            'imageData': None,
            'imageHeight': height,
            'imageWidth': width,
        }
        write_text(file, json.dumps(content, indent=2) + '\n')
