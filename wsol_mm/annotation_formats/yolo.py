"""YOLO: a folder with one text file per image and the list of classes."""

from pathlib import Path

from wsol_mm.utils.file_names import fitting_name, printable

from .image_annotation import Annotations, write_text


def write_yolo(annotations: Annotations, out: Path) -> None:
    """Write ``<out>/labels/<name>.txt`` for every image, and ``<out>/classes.txt``.

    A line is ``<class index> <centre x> <centre y> <width> <height>``, divided by width and height of the
    image. The file of an image without boxes is empty.

    Args:
        annotations: What to write.
        out: Folder to write.
    """
    write_text(out / 'classes.txt', ''.join(f'{printable(name)}\n' for name in annotations.classes))
    for image in annotations.read():
        width, height = image.size
        lines = []
        for label, (x0, y0, x1, y1) in zip(image.labels, image.boxes, strict=True):
            centre = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height
            size = (x1 - x0) / width, (y1 - y0) / height
            lines.append(f'{label} ' + ' '.join(f'{value:.6f}' for value in (*centre, *size)) + '\n')
        write_text(out / 'labels' / fitting_name(image.name, '.txt'), ''.join(lines))
