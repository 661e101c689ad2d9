"""Readers of box annotations in Pascal VOC XML, COCO JSON, CSV and lists."""

import codecs
import csv
from pathlib import Path
from typing import Any, NamedTuple

from wsol_mm.datasets.dataset_problems import DatasetError, DatasetProblems
from wsol_mm.utils.json_text import read_json

import numpy as np

from .list_files import finite_floats, parse_lines
from .xml_files import read_xml

_CSV_LINE = '<path>,<x0>,<y0>,<x1>,<y1>[,<label>[,<score>]]'


class ImageBoxes(NamedTuple):
    """The boxes of one image as an annotation file gives them.

    Attributes:
        boxes: Lists of x0, y0, x1, y1 in pixels.
        labels: Class name of each box, or None where the file has none.
        size: Width and height of the image, if the file says.
    """

    boxes: list[list[float]]
    labels: list[str | None]
    size: tuple[int, int] | None = None

    def array(self, keep: list[bool] | None = None) -> np.ndarray:
        """The boxes as a (N, 4) float64 array.

        Args:
            keep: Which boxes to take; None for all.

        Returns:
            The boxes taken.
        """
        boxes = self.boxes
        if keep is not None:
            boxes = [box for box, wanted in zip(boxes, keep, strict=True) if wanted]
        return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def read_voc_xml(path: str | Path, one_based: bool) -> ImageBoxes:
    """Read an annotation file in the format of Pascal VOC.

    Args:
        path: The XML file.
        one_based: Coordinates count pixels from 1 and name the last pixel inside, as in Pascal VOC itself: x0
            = xmin - 1, x1 = xmax. Otherwise they are taken as they are.

    Returns:
        The boxes of all ``object`` elements, and the ``size`` if it is there and not 0.

    Raises:
        DatasetError: If the file is no such file; names the element that is wrong.
        FileNotFoundError: If there is no such file.
    """
    root = read_xml(path, 'Pascal VOC annotations')
    boxes: list[list[float]] = []
    labels: list[str | None] = []
    for number, element in enumerate(root.iter('object'), 1):
        corner = [element.findtext(f'bndbox/{name}') for name in ('xmin', 'ymin', 'xmax', 'ymax')]
        try:
            x0, y0, x1, y1 = finite_floats([value or '' for value in corner])
        except ValueError as error:
            raise DatasetError(
                f'{path}, bndbox of object {number}: expected numbers for xmin, ymin, xmax and ymax, got '
                f'{_shown(corner)}'
            ) from error
        boxes.append([x0 - 1, y0 - 1, x1, y1] if one_based else [x0, y0, x1, y1])
        name = element.findtext('name')
        labels.append(name.strip() if name else None)
    size = None
    stated = [root.findtext(f'size/{name}') or 0 for name in ('width', 'height')]
    try:
        width, height = map(int, stated)
    except ValueError as error:
        raise DatasetError(
            f'{path}, size: expected integers for width and height, got {_shown(stated)}'
        ) from error
    if width > 0 and height > 0:  # some tools write 0 for unknown
        size = (width, height)
    return ImageBoxes(boxes, labels, size)


def _shown(values: list) -> list[str]:
    return [str(value)[:40] for value in values]


def read_coco_json(path: str | Path, problems: DatasetProblems) -> dict[str, ImageBoxes]:
    """Read the boxes of a COCO instances file; groups (``iscrowd``) are left out.

    Args:
        path: The JSON file with ``images``, ``annotations`` and ``categories``.
        problems: Where annotations that do not parse are reported.

    Returns:
        Boxes by ``file_name``.

    Raises:
        DatasetError: If the file is not of that format.
        FileNotFoundError: If there is no such file.
    """
    accepted = 'a COCO instances file with the lists images, annotations and categories'
    try:
        content = read_json(path, accepted)
    except ValueError as error:
        raise DatasetError(str(error)) from error
    try:
        images = {image['id']: image for image in content['images']}
        names = {category['id']: str(category['name']) for category in content.get('categories', [])}
        annotations = content['annotations']
        if not isinstance(annotations, list):
            raise TypeError(f'annotations is a {type(annotations).__name__}')
        found = {str(image['file_name']): ImageBoxes([], [], _coco_size(image)) for image in images.values()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DatasetError(
            f'{path}: expected {accepted}, got another structure ({type(error).__name__}: {error})'
        ) from error
    for number, annotation in enumerate(annotations):
        try:
            image = images[annotation['image_id']]
            x, y, width, height = finite_floats([*annotation['bbox']])
            label = names[annotation['category_id']] if names else None
            crowd = bool(annotation.get('iscrowd', 0))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problems.add(
                'annotation that does not parse',
                f'{path}, annotations[{number}]: expected image_id of an image, bbox [x, y, width, height] '
                f'and category_id of a category, got others ({type(error).__name__}: {error})',
            )
            continue
        if not crowd:
            entry = found[str(image['file_name'])]
            entry.boxes.append([x, y, x + width, y + height])
            entry.labels.append(label)
    return {name: entry for name, entry in found.items() if entry.boxes}


def _coco_size(image: dict[str, Any]) -> tuple[int, int] | None:
    if 'width' not in image or 'height' not in image:
        return None
    return int(image['width']), int(image['height'])


def read_box_csv(path: str | Path, problems: DatasetProblems) -> dict[str, ImageBoxes]:
    """Read boxes from a CSV file, one box per line: ``path,x0,y0,x1,y1[,label[,score[,confidence]]]``.

    Scores and confidences are passed over. A first line whose coordinates are words is taken for a heading.
    Paths are the bytes of file names, which need not be UTF-8.

    Args:
        path: The CSV file.
        problems: Where lines that do not parse are reported.

    Returns:
        Boxes by path as written.

    Raises:
        DatasetError: If the file is no CSV.
        FileNotFoundError: If there is no such file.
    """
    found: dict[str, ImageBoxes] = {}
    with open(path, 'rb') as start:
        if start.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise DatasetError(f'{path}: expected a UTF-8 text file, got UTF-16')
    try:
        with open(path, encoding='utf-8-sig', errors='surrogateescape', newline='') as stream:
            reader = csv.reader(stream)
            for row in reader:
                fields = [field.strip() for field in row]
                if not any(fields):
                    continue
                is_first, number = not found and reader.line_num == 1, reader.line_num
                if is_first and len(fields) >= 5 and all(field.isidentifier() for field in fields[1:5]):
                    continue
                try:
                    if len(fields) not in (5, 6, 7, 8) or not fields[0]:
                        raise ValueError(f'expected 5 to 8 fields, the first not empty, got {len(fields)}')
                    box = finite_floats(fields[1:5])
                except ValueError as error:
                    problems.add(
                        'line that does not parse',
                        f'{path}, line {number}: expected {_CSV_LINE}, got {",".join(row)[:200]!r} ({error})',
                    )
                    continue
                entry = found.setdefault(row[0], ImageBoxes([], []))
                entry.boxes.append(box)
                entry.labels.append(fields[5] or None if len(fields) > 5 else None)
    except csv.Error as error:
        raise DatasetError(
            f'{path}, line {reader.line_num}: expected {_CSV_LINE}, got no valid CSV ({error})'
        ) from error
    return found


def read_box_list(path: str | Path, box_format: str, problems: DatasetProblems) -> dict[str, ImageBoxes]:
    """Read boxes from a list as CATR and CDTR ship it, one box per line: ``<path> <ignored> <4 numbers>``.

    Args:
        path: The list.
        box_format: What the numbers are: ``'xyxy'`` (x0, y0, x1, y1) or ``'xywh'`` (x, y, width, height).
        problems: Where lines that do not parse are reported.

    Returns:
        Boxes by path as written, those of one image in the order of their lines.

    Raises:
        DatasetError: If the file is not UTF-8 text.
        FileNotFoundError: If there is no such file.
    """

    def parse(line: str) -> tuple[str, list[float]]:
        fields = line.rsplit(maxsplit=5)
        if len(fields) != 6:
            raise ValueError(f'expected 6 fields, got {len(fields)}')
        x0, y0, x1, y1 = finite_floats(fields[2:])
        return fields[0], [x0, y0, x0 + x1, y0 + y1] if box_format == 'xywh' else [x0, y0, x1, y1]

    numbers = '<x> <y> <width> <height>' if box_format == 'xywh' else '<x0> <y0> <x1> <y1>'
    found: dict[str, ImageBoxes] = {}
    for _, (name, box) in parse_lines(path, parse, f'<path> <anything> {numbers}', problems):
        entry = found.setdefault(name, ImageBoxes([], []))
        entry.boxes.append(box)
        entry.labels.append(None)
    return found
