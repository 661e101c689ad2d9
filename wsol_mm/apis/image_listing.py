"""Finds the images that paths mean: in folders in sorted order, one directory in memory at a time."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wsol_mm.datasets.image_files import IMAGE_EXTENSIONS, is_folder


class ListedImage(NamedTuple):
    """An image in a folder.

    Attributes:
        path: Relative to the folder, with ``/`` between the parts.
        name: The path without extension, or with it where another image in the same place would have the
            same one: different for every image, so that each can have a file named after it.
    """

    path: str
    name: str


def images_at(path: str | Path) -> list[tuple[str, str]]:
    """Find the images that a path means.

    Args:
        path (str | Path): A file, which is taken as it is, or a folder; see :func:`walk_images`.

    Returns:
        list[tuple[str, str]]: Path of every image, and what it is called: its file name, or its path relative
        to the folder.

    Raises:
        FileNotFoundError: If the path does not exist.
        ValueError: If the folder holds no image.
    """
    if os.path.isfile(path):
        return [(str(path), os.path.basename(path))]
    if not os.path.isdir(path):
        raise FileNotFoundError(f"no image file or folder at '{path}'")
    found = [(os.path.join(path, image.path), image.path) for image in walk_images(path)]
    if not found:
        raise ValueError(f"no image in the folder '{path}'; accepted are {', '.join(IMAGE_EXTENSIONS)}")
    return found


def walk_images(folder: str | Path) -> Iterator[ListedImage]:
    """Find the images in a folder and the folders inside.

    Hidden files and folders are left out, as is what is no file (sockets, pipes). Links to folders are
    followed, except to one above them; links to nothing count as images.

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
            if is_folder(entry):
                entries.append(f'{entry.name}/')
            elif entry.name.lower().endswith(IMAGE_EXTENSIONS) and (entry.is_symlink() or entry.is_file()):
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
