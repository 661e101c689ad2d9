"""Readers of what annotation tools write: labelme, YOLO, Label Studio."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from wsol_mm.datasets.dataset_problems import DatasetError, DatasetProblems
from wsol_mm.utils.json_text import read_json

import yaml

from .box_annotations import ImageBoxes
from .list_files import finite_floats, parse_lines, read_lines

#: Files of a folder of YOLO labels that are none.
YOLO_CLASS_FILES = ('data.yaml', 'data.yml', 'classes.txt')


def read_labelme_json(path: str | Path) -> ImageBoxes:
    """Read the rectangles of a labelme file; other shapes become the box around their points.

    Args:
        path: The JSON file of an image.

    Returns:
        The boxes, and the size if the file says it.

    Raises:
        DatasetError: If the file is no such file.
        FileNotFoundError: If there is no such file.
    """
    content = _read_json(path, 'a labelme file with a list of shapes')
    boxes: list[list[float]] = []
    labels: list[str | None] = []
    try:
        for shape in content['shapes']:
            points = [finite_floats(point) for point in shape['points']]
            if len(points) < 2 or any(len(point) != 2 for point in points):
                raise ValueError(f'expected at least two points, got {len(points)}')
            xs, ys = zip(*points, strict=True)
            boxes.append([min(xs), min(ys), max(xs), max(ys)])
            labels.append(str(shape['label']))
        width, height = int(content.get('imageWidth') or 0), int(content.get('imageHeight') or 0)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f'{path}: expected a labelme file with a list of shapes, got another structure '
            f'({type(error).__name__}: {error})'
        ) from error
    return ImageBoxes(boxes, labels, (width, height) if width > 0 and height > 0 else None)


def read_yolo_classes(folder: Path) -> list[str] | None:
    """Read the class names of a folder of YOLO labels, or of the one above.

    Args:
        folder: Folder of the labels.

    Returns:
        Names by index: ``names`` of ``data.yaml``, else the lines of ``classes.txt``; None without either.

    Raises:
        DatasetError: If ``data.yaml`` has no names.
    """
    for place in (folder, folder.parent):
        for file in (place / name for name in YOLO_CLASS_FILES):
            if not file.is_file():
                continue
            if file.suffix == '.txt':
                return [line for _, line in read_lines(file)]
            try:
                names = yaml.safe_load(file.read_text(encoding='utf-8'))['names']
                return (
                    [str(names[i]) for i in sorted(names)] if isinstance(names, dict) else [*map(str, names)]
                )
            except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
                raise DatasetError(f'{file}: expected names of classes, got none ({error})') from error
    return None


def read_yolo_labels(
    path: str | Path, names: list[str] | None, size: tuple[int, int], problems: DatasetProblems
) -> ImageBoxes:
    """Read the label file of an image, of lines ``<class index> <centre x> <centre y> <width> <height>``.

    A sixth number, the confidence, is passed over.

    Args:
        path: The file.
        names: Class names by index; None for no names.
        size: Width and height of the image, of which the numbers are shares.
        problems: Where lines that do not parse are reported.

    Returns:
        The boxes in pixels.

    Raises:
        DatasetError: If the file is not UTF-8 text.
        FileNotFoundError: If there is no such file.
    """

    def parse(line: str) -> tuple[str | None, list[float]]:
        fields = line.split()
        if len(fields) not in (5, 6):
            raise ValueError(f'expected 5 or 6 fields, got {len(fields)}')
        index = int(fields[0])
        if index < 0 or (names is not None and index >= len(names)):
            raise ValueError(f'expected a class from 0 to {len(names or ()) - 1}, got {index}')
        x, y, width, height = finite_floats(fields[1:5])
        shares = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        # Written with six decimals: a box that ends with its image must not overrun it.
        corners = [min(max(value, 0.0), 1.0) if -1e-4 < value < 1 + 1e-4 else value for value in shares]
        box = [value * side for value, side in zip(corners, (*size, *size), strict=True)]
        return None if names is None else names[index], box

    accepted = '<class index> <centre x> <centre y> <width> <height>'
    found = [item for _, item in parse_lines(path, parse, accepted, problems)]
    return ImageBoxes([box for _, box in found], [label for label, _ in found], size)


def is_label_studio(path: str | Path) -> bool:
    """Tell whether a JSON file begins as a list does: tasks of Label Studio, and no COCO file."""
    with open(path, encoding='utf-8-sig', errors='replace') as stream:
        while character := stream.read(1):
            if not character.isspace():
                return character == '['
    return False


def read_label_studio(path: str | Path, problems: DatasetProblems) -> dict[str, ImageBoxes]:
    """Read the rectangles of tasks of Label Studio, exported as JSON or made by ``tools/predict.py``.

    A task's last annotation that was not cancelled is taken; its last prediction if nobody has annotated it.

    Args:
        path: The JSON file.
        problems: Where tasks that do not parse are reported.

    Returns:
        Boxes by path of the image: what follows ``?d=`` in the address of a local file, else the whole
        address.

    Raises:
        DatasetError: If the file is no list of tasks.
        FileNotFoundError: If there is no such file.
    """
    tasks = _read_json(path, 'a list of tasks of Label Studio')
    if not isinstance(tasks, list) or not tasks:
        raise DatasetError(
            f'{path}: expected a COCO instances file, or a list of tasks of Label Studio, got {tasks!r:.40}'
        )
    found = {}
    for number, task in enumerate(tasks):
        try:
            name, boxes = _read_task(task)
        except (AttributeError, KeyError, StopIteration, TypeError, ValueError) as error:
            problems.add(
                'task that does not parse',
                f'{path}, tasks[{number}]: expected data with an image and annotations of rectangles, got '
                f'others ({type(error).__name__}: {error})',
            )
            continue
        if boxes.boxes:
            found[name] = boxes
    return found


def _read_task(task: Mapping[str, Any]) -> tuple[str, ImageBoxes]:
    data = task['data']
    address = urlsplit(str(data['image'] if 'image' in data else next(iter(data.values()))))
    local = parse_qs(address.query, errors='surrogateescape').get('d')
    name = local[0] if local else unquote(address.path, errors='surrogateescape')
    annotations = [entry for entry in task.get('annotations') or () if not entry.get('was_cancelled')]
    chosen = (annotations or task.get('predictions') or [{}])[-1]
    boxes: list[list[float]] = []
    labels: list[str | None] = []
    size = None
    for region in chosen.get('result') or ():
        if region.get('type') not in ('rectanglelabels', 'rectangle'):
            continue
        value = region['value']
        if value.get('rotation'):
            raise ValueError(f'expected an upright rectangle, got one turned by {value["rotation"]} degrees')
        size = int(region['original_width']), int(region['original_height'])
        x, y, width, height = finite_floats([value[key] for key in ('x', 'y', 'width', 'height')])
        corners = (x, y, x + width, y + height)
        boxes.append([share / 100 * side for share, side in zip(corners, (*size, *size), strict=True)])
        named = value.get('rectanglelabels')
        labels.append(str(named[0]) if named else None)
    return name, ImageBoxes(boxes, labels, size)


def _read_json(path: str | Path, accepted: str) -> Any:
    try:
        return read_json(path, accepted)
    except ValueError as error:
        raise DatasetError(str(error)) from error
