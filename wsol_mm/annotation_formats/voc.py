"""Pascal VOC: a folder with one XML file per image."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from wsol_mm.utils.file_names import fitting_name, printable

from .image_annotation import Annotations, ImageAnnotation, write_text


def write_voc(annotations: Annotations, out: Path) -> None:
    """Write ``<out>/<name>.xml`` for every image, those without boxes included.

    Coordinates are integers that count pixels from 1 and name the last pixel inside, as in Pascal VOC: a box
    rounded to x0, x1 (exclusive) has ``xmin`` x0 + 1 and ``xmax`` x1, at least one pixel.

    Args:
        annotations: What to write.
        out: Folder to write.
    """
    for image in annotations.read():
        root = _annotation(image, annotations.classes)
        ElementTree.indent(root)
        write_text(
            out / fitting_name(image.name, '.xml'), ElementTree.tostring(root, encoding='unicode') + '\n'
        )


def _annotation(image: ImageAnnotation, classes: Sequence[str]) -> Element:
    folder, _, file_name = image.path.rpartition('/')
    width, height = image.size
    root = Element('annotation')
    _fill(root, folder=printable(folder), filename=printable(file_name))
    _fill(SubElement(root, 'size'), width=width, height=height, depth=3)
    _fill(root, segmented=0)
    for label, box in zip(image.labels, image.boxes, strict=True):
        element = SubElement(root, 'object')
        _fill(element, name=printable(classes[label]), pose='Unspecified', truncated=0, difficult=0)
        (xmin, xmax), (ymin, ymax) = _pixels(box[0], box[2], width), _pixels(box[1], box[3], height)
        _fill(SubElement(element, 'bndbox'), xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)
    return root


def _pixels(low: float, high: float, side: int) -> tuple[int, int]:
    first = min(round(low) + 1, side)
    return first, max(first, round(high))


def _fill(parent: Element, **children: object) -> None:
    for name, value in children.items():
        SubElement(parent, name).text = str(value)
