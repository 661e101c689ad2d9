"""Image files: which files are images, what files belong to them, and how they are opened and become RGB."""

import os
from collections import Counter
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
#: Formats that are decoded, whatever a file is called: Pillow knows more, of which one starts Ghostscript.
IMAGE_FORMATS = ('JPEG', 'PNG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'PPM')
#: What is white in grey images of more than 8 bits.
WHITE = 2**16 - 1

_ORIENTATION = 0x0112
#: EXIF orientations that swap width and height.
SWAPPING = (5, 6, 7, 8)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# A picture of 14 bits and less whose white is taken for that of 16 is a quarter as bright, or darker.
_DARK = 2**14


@contextmanager
def open_image(path: str | Path, backend_args: dict | None = None) -> Iterator[Image.Image]:
    """Open an image file with Pillow.

    Args:
        path: The image file.
        backend_args: File backend of MMEngine; None to choose it by the path.

    Yields:
        The image, decoded.

    Raises:
        UnreadableImage: If the file is missing, does not decode, or is in none of :data:`IMAGE_FORMATS`; also
            if, while the image is in use, one of ``DECODE_ERRORS`` is raised.
    """
    try:
        image = Image.open(BytesIO(fileio.get(path, backend_args=backend_args)), formats=IMAGE_FORMATS)
        image.load()
    # Of damaged files decoders let through whatever their arithmetic raises: no closed list.
    except Exception as error:
        raise UnreadableImage(str(path), error_text(error)) from error
    try:
        with image:
            yield image
    except DECODE_ERRORS as error:
        raise UnreadableImage(str(path), error_text(error)) from error


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1 where there is none, or none that can be read."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    # The block may be anything, and so may what Pillow raises; the pixels are fine.
    except Exception:
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says.

    Pillow's own ``exif_transpose`` writes all other tags anew, and fails if one of them is odd.

    Args:
        image: The image, decoded.

    Returns:
        The image, or a turned copy.
    """
    orientation = exif_orientation(image)
    return image if orientation == 1 else image.transpose(_TURNS[orientation])


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


def rgb_image(image: Image.Image, white: int = WHITE, background: Sequence[int] | None = None) -> Image.Image:
    """Convert an image to RGB, 8 bits.

    Of grey images with 16 bits the upper 8 are kept, as of colour images; Pillow's own conversion would make
    nearly all of their pixels white. Transparency is left out as Pillow does, which shows the colours below.

    Args:
        image: Of any mode but Pillow's ``'F'``.
        white: Value that becomes 255 in grey images of more than 8 bits, as do those above it: 4095 for
            pictures of 12 bits.
        background: Colour (red, green, blue) on which images with transparency are put; None to leave it out.

    Returns:
        The image, or a converted copy.

    Raises:
        ValueError: If the pixels are floating-point numbers, or integers of more than 16 bits.
    """
    if image.mode == 'F':
        raise ValueError('expected pixels of 8 or 16 bits, got floating-point numbers')
    if image.mode.startswith('I'):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > WHITE:
            raise ValueError('expected pixels of 8 or 16 bits, got 32 bits')
        levels = values.astype(np.uint32) * 256 // (white + 1)
        image = Image.fromarray(np.minimum(levels, 255).astype(np.uint8))
    if background is not None and _may_be_transparent(image):
        below = Image.new('RGBA', image.size, (*background, 255))
        image = Image.alpha_composite(below, image.convert('RGBA'))
    return image if image.mode == 'RGB' else image.convert('RGB')


def doubt_about_pixels(
    image: Image.Image, white: int = WHITE, background: Sequence[int] | None = None
) -> str | None:
    """Say where :func:`rgb_image` gives other pixels than a viewer shows; None if all is well.

    Args:
        image: The image, decoded.
        white: As there.
        background: As there.
    """
    if image.mode.startswith('I') and white == WHITE:
        largest = int(np.asarray(image).max())
        if 0 < largest < _DARK:
            return (
                f'expected grey values to {WHITE} in an image of 16 bits, got at most {largest}: it is taken '
                'for a dark one. white=4095 of LoadImageWithPillow brightens pictures of 12 bits'
            )
    transparent = background is None and _may_be_transparent(image)
    if transparent and np.asarray(image.convert('RGBA').getchannel('A')).min() < 255:
        return (
            'expected an opaque image, got a transparent one: the colours below its transparency are seen. '
            'background=(255, 255, 255) of LoadImageWithPillow puts it on white'
        )
    return None


def _may_be_transparent(image: Image.Image) -> bool:
    return image.mode in ('RGBA', 'LA', 'PA', 'La', 'RGBa') or 'transparency' in image.info


def distinct_stems(images: Sequence[str]) -> list[str]:
    """Return names for files that belong to images: without the suffix, where they are different then.

    They are compared without case: not every file system can tell 1.jpg from 1.JPG.

    Args:
        images: Names of images in one folder.

    Returns:
        For each its stem, or the whole name if another has the same stem or is called like it.
    """
    stems = [os.path.splitext(image)[0] for image in images]
    taken = Counter(name.lower() for name in (*images, *stems))
    return [stem if taken[stem.lower()] == 1 else image for image, stem in zip(images, stems, strict=True)]


def error_text(error: Exception) -> str:
    """Say what is wrong with an image, alike in every run.

    Args:
        error: What Pillow has raised.

    Returns:
        Type and message; of Pillow's ``UnidentifiedImageError``, whose message may hold the address of an
        object, the type with an explanation.
    """
    if isinstance(error, UnidentifiedImageError):
        return f'UnidentifiedImageError: empty, or in none of the formats {", ".join(IMAGE_FORMATS)}'
    return f'{type(error).__name__}: {error}'
