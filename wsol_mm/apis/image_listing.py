"""Finds the images that paths mean: in folders in sorted order, one directory in memory at a time."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wsol_mm.datasets.readers.image_files import IMAGE_EXTENSIONS, distinct_stems, is_folder

from mmengine.logging import print_log


class ListedImage(NamedTuple):
    """An image in a folder.

    Attributes:
        path: Relative to the folder, with ``/`` between the parts.
        name: The path without extension, or with it where another image in the same place would have the
            same one: different for every image, so that each can have a file named after it.
        tar: Path of the tar file that it is in, relative to the folder, if it is in one.
        offset: Where it begins in the tar file.
        size: Its bytes there.
    """

    path: str
    name: str
    tar: str = ''
    offset: int = 0
    size: int = 0


def images_at(path: str | Path) -> list[tuple[str, str]]:
    """Find the images that a path means.

    Args:
        path: A file, which is taken as it is, or a folder; see :func:`walk_images`.

    Returns:
        Path of every image, and what it is called: its file name, or its path relative to the folder.

    Raises:
        FileNotFoundError: If the path does not exist.
        ValueError: If the folder holds no image.
    """
    if os.path.isfile(path):
        return [(str(path), os.path.basename(path))]
    if not os.path.isdir(path):
        raise FileNotFoundError(f'{path}: expected an image file or a folder with images, got nothing there')
    skipped: Counter[str] = Counter()
    found = [(os.path.join(path, image.path), image.path) for image in walk_images(path, skipped)]
    if not found:
        raise no_image_error(path, skipped)
    report_skipped(path, skipped)
    return found


def no_image_error(folder: str | Path, skipped: Counter[str], kind: str = 'a folder') -> ValueError:
    """Return the error that a place holds no image, only what :func:`walk_images` has skipped."""
    found = f'only {_described(skipped)}' if skipped else 'none'
    return ValueError(f'{folder}: expected {kind} with images ({", ".join(IMAGE_EXTENSIONS)}), got {found}')


def report_skipped(folder: str | Path, skipped: Counter[str]) -> None:
    """Log how many files of a folder :func:`walk_images` has skipped, if any."""
    if skipped:
        accepted = ' '.join(IMAGE_EXTENSIONS)
        print_log(
            f'{folder}: {skipped.total()} file(s) are no images ({accepted}): {_described(skipped)}',
            'current',
        )


def _described(skipped: Counter[str], named: int = 5) -> str:
    ranked = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    kinds = [f'{count} {suffix or "without suffix"}' for suffix, count in ranked[:named]]
    return ', '.join(kinds) + (', ...' if len(skipped) > named else '')


def walk_images(folder: str | Path, skipped: Counter[str] | None = None) -> Iterator[ListedImage]:
    """Find the images in a folder and the folders inside.

    Hidden files and folders are left out, as is what is no file (sockets, pipes). Links to folders are
    followed, except to one above them; links to nothing count as images.

    Args:
        folder: The folder; or an image file, which is taken as it is, relative to its folder.
        skipped: The other files are counted here, by their suffix in lower case.

    Yields:
        The images, in the order of their sorted paths.

    Raises:
        NotADirectoryError: If there is no such folder or file.
    """
    if os.path.isfile(folder):
        name = os.path.basename(folder)
        yield ListedImage(name, distinct_stems([name])[0])
        return
    if not os.path.isdir(folder):
        raise NotADirectoryError(
            f'{folder}: expected a folder with images or an image file, got nothing there'
        )
    skipped = Counter() if skipped is None else skipped
    yield from _walk(str(folder), '', (os.path.realpath(folder),), skipped)


def _walk(root: str, inside: str, above: tuple[str, ...], skipped: Counter[str]) -> Iterator[ListedImage]:
    entries: list[str] = []
    with os.scandir(os.path.join(root, inside)) as found:
        for item in found:
            if item.name.startswith('.'):
                continue
            if is_folder(item):
                entries.append(f'{item.name}/')
            elif not item.name.lower().endswith(IMAGE_EXTENSIONS):
                skipped[os.path.splitext(item.name)[1].lower()] += 1
            elif item.is_symlink() or item.is_file():
                entries.append(item.name)
    images = [entry for entry in entries if not entry.endswith('/')]
    names = dict(zip(images, distinct_stems(images), strict=True))
    # With the slash at their end, folders come where the paths of their images belong.
    for entry in sorted(entries):
        if entry.endswith('/'):
            real = os.path.realpath(os.path.join(root, inside, entry))
            if real not in above:
                yield from _walk(root, inside + entry, (*above, real), skipped)
            continue
        yield ListedImage(inside + entry, inside + names[entry])
