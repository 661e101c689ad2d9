"""CSV: one box per line."""

import csv
from pathlib import Path

from .image_annotation import Annotations

_HEADING = ('path', 'x0', 'y0', 'x1', 'y1', 'label', 'score', 'confidence')
_DECIMALS = 2


def write_csv(annotations: Annotations, out: Path) -> None:
    """Write a line ``path,x0,y0,x1,y1,label,score,confidence`` for every box, under a heading.

    Boxes are x0 y0 x1 y1 with exclusive ends, in pixels from 0, to a hundredth. Images without boxes have no
    line.

    Args:
        annotations: What to write.
        out: File to write.
    """
    # The names of files are bytes, which need not be UTF-8: they are written as they are.
    with open(out, 'w', encoding='utf-8', errors='surrogateescape', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(_HEADING)
        for image in annotations.read():
            for label, score, box, confidence in image.rows():
                corners = (round(value, _DECIMALS) for value in box)
                numbers = round(score, 6), round(confidence, 6)
                writer.writerow([image.path, *corners, annotations.classes[label], *numbers])
