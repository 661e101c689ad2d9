"""Walks the images of a folder in sorted order, one directory in memory at a time."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wsol_mm.datasets.image_files import IMAGE_EXTENSIONS


class ListedImage(NamedTuple):
    """An image in a folder.

    Attributes:
        path: Relative to the folder, with ``/`` between the parts.
        name: The path without extension, or with it where another image in the same place would have the
            same one: different for every image, so that each can have a file named after it.
    """

    path: str
    name: str


def walk_images(folder: str | Path) -> Iterator[ListedImage]:
    """Find the images in a folder and the folders inside.

    Hidden files and folders are left out. Links to folders are followed, except to one above them.

    Args:
        folder (str | Path): The folder.

    Yields:
        ListedImage: The images, in the order of their sorted paths.

    Raises:
        NotADirectoryError: If there is no such folder.
    """
    if not os.path.isdir(folder):
        raise NotADirectoryError(f'no folder at {folder}; accepted is a folder with images')
    yield from _walk(str(folder), '', (os.path.realpath(folder),))


def _walk(root: str, inside: str, above: tuple[str, ...]) -> Iterator[ListedImage]:
    entries: list[str] = []
    with os.scandir(os.path.join(root, inside)) as found:
        for entry in found:
            if entry.name.startswith('.'):
                continue
            if entry.is_dir():
                entries.append(f'{entry.name}/')
            elif entry.name.lower().endswith(IMAGE_EXTENSIONS):
                entries.append(entry.name)
    images = [entry for entry in entries if not entry.endswith('/')]
    # Compared without case: not every file system can tell 1.jpg from 1.JPG.
    stems = Counter(_stem(image).lower() for image in images)
    taken = {image.lower() for image in images}
    # With the slash at their end, folders come where the paths of their images belong.
    for entry in sorted(entries):
        if entry.endswith('/'):
            real = os.path.realpath(os.path.join(root, inside, entry))
            if real not in above:
                yield from _walk(root, inside + entry, (*above, real))
            continue
        stem = _stem(entry)
        is_own = stems[stem.lower()] == 1 and stem.lower() not in taken
        yield ListedImage(inside + entry, inside + (stem if is_own else entry))


def _stem(name: str) -> str:
    return name.rpartition('.')[0]
