"""YOLO: a folder with one text file per image, the classes, and what a training reads."""

import json
import os
from pathlib import Path

from wsol_mm.utils.file_names import fitting_name, printable

from .image_annotation import Annotations, ImageAnnotation, write_text

_DATA = """\
# {description}
# images is a link to the photographs; a copy of them in its place serves as well. These boxes are predicted:
# to measure anything, list images with boxes drawn by hand in a file of their own, and name it as val.
train: train.txt
val: train.txt
names: {names}
"""


def write_yolo(annotations: Annotations, out: Path) -> None:
    """Write ``<out>/labels/<name>.txt`` for every image, and what belongs to them.

    A line is ``<class index> <centre x> <centre y> <width> <height>``, divided by width and height of the
    image. The file of an image without boxes is empty. ``data.yaml`` and ``classes.txt`` name the classes,
    ``train.txt`` lists the images, and ``images`` is a link to their folder, where there is one and links are
    permitted: in its place a training finds them beside ``labels``.

    Args:
        annotations: What to write.
        out: Folder to write; the link holds for folders in the same place.
    """
    names = [printable(name) for name in annotations.classes]
    write_text(out / 'classes.txt', ''.join(f'{name}\n' for name in names))
    (out / 'labels').mkdir(parents=True, exist_ok=True)
    with open(out / 'train.txt', 'w', encoding='utf-8', newline='\n') as listed:
        for image in annotations.read():
            _write_labels(image, out)
            listed.write(f'./images/{printable(image.path)}\n')
    data = _DATA.format(
        description=printable(annotations.description),
        # Strings of JSON are strings of YAML.
        names=json.dumps(names, ensure_ascii=False),
    )
    write_text(out / 'data.yaml', data)
    if annotations.image_folder is not None:
        _link_images(annotations.image_folder.resolve(), out)


def _write_labels(image: ImageAnnotation, out: Path) -> None:
    width, height = image.size
    lines = []
    for label, (x0, y0, x1, y1) in zip(image.labels, image.boxes, strict=True):
        centre = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height
        size = (x1 - x0) / width, (y1 - y0) / height
        lines.append(f'{label} ' + ' '.join(f'{value:.6f}' for value in (*centre, *size)) + '\n')
    write_text(out / 'labels' / fitting_name(image.name, '.txt'), ''.join(lines))


def _link_images(folder: Path, out: Path) -> None:
    try:
        os.symlink(os.path.relpath(folder, out.resolve()), out / 'images', target_is_directory=True)
    except (OSError, ValueError) as error:  # Windows: no permission, or another drive
        print(f'{out / "images"}: expected a link to {folder}, got {error}: copy the images there')
