"""Cheap and less cheap checks of image files: existence, size in the header, decoding."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from wsol_mm.datasets.dataset_problems import UnreadableImage
from wsol_mm.datasets.readers.image_files import (
    IMAGE_FORMATS,
    SWAPPING,
    exif_orientation,
    is_folder,
    open_image,
    rgb_image,
)

from PIL import Image

Result = TypeVar('Result')

# JPEG's end-of-image marker; PNG's last chunk (length 0, IEND, checksum).
_FILE_ENDS = {'JPEG': b'\xff\xd9', 'PNG': b'\0\0\0\0IEND\xaeB`\x82'}


def leads_outside(path: str) -> bool:
    """Tell whether a path is absolute, or leads above the folder to which it is relative."""
    if os.path.isabs(path):
        return True
    return '..' in path and os.path.normpath(path).split(os.sep)[0] == os.pardir


def missing_files(root: str | Path, relative_paths: Iterable[str]) -> list[str]:
    """Find the files that do not exist, with one directory listing per folder.

    A listing costs one system call for some hundred names, a stat costs one per file: 1.28 million images in
    1,000 folders take 1.3 s on a local disk with warm caches, where as many stats take 4.7 s, and far more
    over a network.

    Args:
        root: Folder to which the paths are relative.
        relative_paths: Paths with ``/`` between their parts.

    Returns:
        The paths with no file (or link to one), in the order given.
    """
    listings: dict[str, set[str]] = {}
    missing = []
    for path in relative_paths:
        folder, _, name = path.rpartition('/')
        listing = listings.get(folder)
        if listing is None:
            listing = listings[folder] = _file_names(os.path.join(root, folder))
        if name not in listing:
            missing.append(path)
    return missing


def _file_names(folder: str) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if not is_folder(entry)}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def inspect_image(path: str | Path, apply_exif: bool = False) -> tuple[int, int]:
    """Read the size of an image from its header, and look whether its file is complete.

    Costs about 0.1 ms for a JPEG or PNG file that ends as it should. Other formats, and files with something
    else at their end, are decoded.

    Args:
        path: The image file.
        apply_exif: Give the size after the EXIF orientation is applied, as a viewer shows it.

    Returns:
        Width and height in pixels.

    Raises:
        Exception: If the file is missing, truncated, or not an image: whatever Pillow raises then.
    """
    with open(path, 'rb') as stream:
        image = Image.open(stream, formats=IMAGE_FORMATS)
        width, height = image.size
        if apply_exif and exif_orientation(image) in SWAPPING:
            width, height = height, width
        position = stream.tell()
        end = _FILE_ENDS.get(image.format or '')
        stream.seek(-len(end or b''), os.SEEK_END)
        complete = end is not None and stream.read() == end
        stream.seek(position)
        if not complete:  # a JPEG file may have more after its end, and be fine
            image.load()
    return width, height


def decode_failure(path: str | Path) -> str | None:
    """Decode an image and throw it away.

    Args:
        path: The image file.

    Returns:
        Why it does not decode; None if it does.
    """
    try:
        with open_image(path) as image:
            rgb_image(image)
    except UnreadableImage as error:
        return error.reason
    return None


def map_threads(
    function: Callable[[str], Result], paths: Sequence[str], threads: int | None = None
) -> list[Result]:
    """Apply a function to many files in a pool of threads; results in order.

    Reading and Pillow's decoders release the interpreter lock, so threads serve slow disks and many cores.

    Args:
        function: Called with each path.
        paths: The paths.
        threads: Size of the pool; None for twice the number of cores, at most 32.

    Returns:
        Results in the order of ``paths``.
    """
    if threads is None:
        threads = min(32, 2 * (os.cpu_count() or 1))
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        return list(pool.map(function, paths))
