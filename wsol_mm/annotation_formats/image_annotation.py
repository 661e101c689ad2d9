"""The boxes of one image, and where those of many come from, for all formats."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

#: Where the classes of the boxes come from: a model, or the folders of the images.
PREDICTED, FROM_FOLDER = 'predicted', 'from-folder'


class ImageAnnotation(NamedTuple):
    """The boxes of one image.

    Attributes:
        number: Place of the image in the list of all, from 1; its id in COCO.
        path: Relative to the image folder, with ``/`` between the parts.
        name: Like ``path``, usually without extension, and different for every image: what a file of its own
            is called.
        size: Width and height in pixels.
        labels: Class index of every box.
        scores: Score of the class of every box.
        boxes: x0 y0 x1 y1 with exclusive ends, in pixels from 0.
        confidences: Confidence of every box, in [0, 1].
    """

    number: int
    path: str
    name: str
    size: tuple[int, int]
    labels: Sequence[int]
    scores: Sequence[float]
    boxes: Sequence[Sequence[float]]
    confidences: Sequence[float]

    def rows(self) -> Iterator[tuple[int, float, Sequence[float], float]]:
        """Label, score, corners and confidence of each box."""
        return zip(self.labels, self.scores, self.boxes, self.confidences, strict=True)


@dataclass(frozen=True)
class Annotations:
    """What is to be written.

    Attributes:
        read: Returns the annotations of all images in order; may be called more than once, so that no format
            has to keep them in memory.
        classes: Names of the classes.
        image_folder: Folder of the images; None where they are no local files of their own.
        description: How the boxes were made.
        labels: Where their classes come from, :data:`PREDICTED` or :data:`FROM_FOLDER`; None if unknown.
    """

    read: Callable[[], Iterable[ImageAnnotation]]
    classes: Sequence[str]
    image_folder: Path | None
    description: str
    labels: str | None = None


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8', newline='\n')
