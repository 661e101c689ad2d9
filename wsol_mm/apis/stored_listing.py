"""Finds the images in folders of file systems that fsspec knows, in sorted order, a directory at a time."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

from wsol_mm.datasets.readers.image_files import IMAGE_EXTENSIONS, distinct_stems
from wsol_mm.utils.stored_files import file_system, storage_errors

from .image_listing import ListedImage


def is_stored_file(address: str) -> bool:
    """Tell whether there is a file at an address, and no folder."""
    system, path = file_system(address)
    with storage_errors(address):
        return system.isfile(path)


def walk_stored_images(address: str, skipped: Counter[str]) -> Iterator[ListedImage]:
    """Find the images at an address, as :func:`~wsol_mm.apis.image_listing.walk_images` does in a folder.

    Args:
        address: Address of a folder, or of an image, which is taken as it is.
        skipped: Other files are counted here, by their suffix in lower case.

    Yields:
        The images, in the order of their sorted paths.

    Raises:
        OSError: If it cannot be read.
    """
    if is_stored_file(address):
        name = address.rpartition('/')[2]
        yield ListedImage(name, distinct_stems([name])[0])
        return
    system, path = file_system(address)
    yield from _walk(address, system, path.rstrip('/'), '', skipped)


def _walk(address: str, system: Any, root: str, inside: str, skipped: Counter[str]) -> Iterator[ListedImage]:
    folder = f'{root}/{inside}'.rstrip('/')
    with storage_errors(f'{address.rstrip("/")}/{inside}'):
        listing = system.ls(folder, detail=True)
    entries: list[str] = []
    for item in listing:
        path = item['name'].rstrip('/')
        name = path.rpartition('/')[2]
        if name.startswith('.') or path.strip('/') == folder.strip('/'):  # object stores mark folders so
            continue
        if item['type'] == 'directory':
            entries.append(f'{name}/')
        elif not name.lower().endswith(IMAGE_EXTENSIONS):
            skipped[os.path.splitext(name)[1].lower()] += 1
        else:
            entries.append(name)
    images = [entry for entry in entries if not entry.endswith('/')]
    names = dict(zip(images, distinct_stems(images), strict=True))
    for entry in sorted(entries):
        if entry.endswith('/'):
            yield from _walk(address, system, root, inside + entry, skipped)
        else:
            yield ListedImage(inside + entry, inside + names[entry])
