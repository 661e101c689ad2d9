"""Image files: which files are images, and how they are opened and become RGB."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from struct import error as StructError

from wsol_mm.datasets.dataset_problems import UnreadableImage

import mmengine.fileio as fileio
import numpy as np
from PIL import Image, UnidentifiedImageError

#: What Pillow raises for files that are damaged or no images (UnidentifiedImageError is an OSError).
DECODE_ERRORS = (OSError, ValueError, SyntaxError, EOFError, StructError, Image.DecompressionBombError)

#: File name ends taken for images, in lower case.
IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm', '.pgm')


@contextmanager
def open_image(path: str | Path, backend_args: dict | None = None) -> Iterator[Image.Image]:
    """Open an image file with Pillow.

    Args:
        path: The image file.
        backend_args: File backend of MMEngine; None to choose it by the path.

    Yields:
        The image, which is decoded when its pixels are first asked for.

    Raises:
        UnreadableImage: If the file is missing or, also while the image is in use, does not decode.
    """
    try:
        with Image.open(BytesIO(fileio.get(path, backend_args=backend_args))) as image:
            yield image
    except DECODE_ERRORS as error:
        raise UnreadableImage(str(path), error_text(error)) from error


def is_folder(entry: os.DirEntry) -> bool:
    """Tell whether an entry is a folder or a link to one; a link to itself is none, and no error."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def list_folders(folder: str | Path) -> list[str]:
    """List the names of the folders in a folder, sorted; hidden ones are left out."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith('.') and is_folder(entry))


def list_images(
    folder: str | Path, extensions: Sequence[str] = IMAGE_EXTENSIONS, recursive: bool = True
) -> tuple[list[str], int]:
    """List the images in a folder, sorted; hidden files and folders are left out.

    Args:
        folder: The folder.
        extensions: Accepted name ends, in lower case; compared without regard to case.
        recursive: Look into folders inside, too. Links to folders are followed.

    Returns:
        Paths relative to ``folder`` with ``/`` between the parts, and the number of other files met.
    """
    extensions = tuple(extensions)
    found: list[str] = []
    others = 0
    pending = ['']
    seen = set()  # links may lead back to a folder above them
    while pending:
        inside = pending.pop()
        real = os.path.realpath(os.path.join(folder, inside))
        if real in seen:
            continue
        seen.add(real)
        with os.scandir(os.path.join(folder, inside)) as entries:
            for entry in entries:
                if entry.name.startswith('.'):
                    continue
                if is_folder(entry):
                    if recursive:
                        pending.append(f'{inside}{entry.name}/')
                elif entry.name.lower().endswith(extensions):
                    found.append(inside + entry.name)
                else:
                    others += 1
    return sorted(found), others


def rgb_image(image: Image.Image) -> Image.Image:
    """Convert an image to RGB, 8 bits.

    Of grey images with 16 bits the upper 8 are kept, as of colour images; Pillow's own conversion would make
    nearly all of their pixels white.

    Args:
        image: Of any mode but Pillow's ``'F'``.

    Returns:
        The image, or a converted copy.

    Raises:
        ValueError: If the pixels are floating-point numbers, or integers of more than 16 bits.
    """
    if image.mode == 'F':
        raise ValueError('expected pixels of 8 or 16 bits, got floating-point numbers')
    if image.mode.startswith('I'):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
            raise ValueError('expected pixels of 8 or 16 bits, got 32 bits')
        image = Image.fromarray((values >> 8).astype(np.uint8))
    return image if image.mode == 'RGB' else image.convert('RGB')


def error_text(error: Exception) -> str:
    """Say what is wrong with an image, alike in every run.

    Args:
        error: One of :data:`DECODE_ERRORS`.

    Returns:
        Type and message; of Pillow's ``UnidentifiedImageError``, whose message may hold the address of an
        object, the type with an explanation.
    """
    if isinstance(error, UnidentifiedImageError):
        return 'UnidentifiedImageError: empty, or in no known image format'
    return f'{type(error).__name__}: {error}'
