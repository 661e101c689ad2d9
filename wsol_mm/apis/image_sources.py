"""Where images come from that are to be predicted: folders, lists of paths, tar files; here or elsewhere."""

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from wsol_mm.datasets.readers.image_files import IMAGE_EXTENSIONS
from wsol_mm.utils.stored_files import is_address, stored_name

from mmengine.logging import print_log

from .image_listing import ListedImage, no_image_error, report_skipped, walk_images
from .path_lists import LIST_SUFFIXES, listed_paths
from .stored_listing import is_stored_file, walk_stored_images
from .tar_shards import tar_files, tar_images

_MAGIC = '*?[{'


@dataclass(frozen=True)
class ImageSource:
    """A place of images.

    Attributes:
        place: Path or address: a folder or an image file, a list of paths, or tar files, also by a pattern.
        kind: Which of these.
        root: Folder to which the paths of the images are relative.
        column: Column of the paths in a list.
    """

    place: str
    kind: Literal['folder', 'list', 'tars']
    root: str
    column: str | None = None

    @property
    def has_files(self) -> bool:
        """Whether every image is a local file of its own."""
        return self.kind != 'tars' and not is_address(self.root)

    def check(self) -> None:
        """Look for the first image.

        Raises:
            OSError: If the place, or the folder of the paths in a list, does not exist or cannot be read.
            ValueError: If it holds no image, or is damaged at its beginning.
        """
        if self.kind == 'list' and not is_address(self.root) and not os.path.isdir(self.root):
            raise NotADirectoryError(
                f'root: expected a folder of the images in {self.place}, got {self.root}'
            )
        skipped: Counter[str] = Counter()
        if next(self._entries(skipped), None) is None:
            raise self._no_image(skipped)

    def images(self) -> Iterator[ListedImage]:
        """Find all images, in an order that depends on nothing but the place.

        Those of a folder come in the order of their sorted paths, others as they are listed, and each once.

        Yields:
            The images.

        Raises:
            OSError: As :meth:`check`.
            ValueError: If it holds no image, or is damaged.
        """
        skipped: Counter[str] = Counter()
        found = self._entries(skipped)
        if self.kind != 'folder':
            found = distinctly_named(found, self.place)
        first = next(found, None)
        if first is None:
            raise self._no_image(skipped)
        yield from chain([first], found)
        report_skipped(self.place, skipped)

    def _entries(self, skipped: Counter[str]) -> Iterator[ListedImage]:
        if self.kind == 'list':
            return (ListedImage(path, '') for path in listed_paths(self.place, self.root, self.column))
        if self.kind == 'tars':
            tars = tar_files(self.place, self.root)
            return (image for tar in tars for image in tar_images(tar, self.root, skipped))
        walk = walk_stored_images if is_address(self.place) else walk_images
        return walk(self.place, skipped)

    def _no_image(self, skipped: Counter[str]) -> ValueError:
        if self.kind == 'list':
            return ValueError(f'{self.place}: expected a list of image paths, got an empty one')
        return no_image_error(self.place, skipped, 'a folder' if self.kind == 'folder' else 'tar files')


def image_source(place: str | Path, root: str | Path | None = None, column: str | None = None) -> ImageSource:
    """Tell what a place of images is.

    Args:
        place: A folder or an image file; a list of paths (``.txt``, ``.csv``, ``.parquet``); a tar file, or
            several by a pattern (see :func:`~wsol_mm.apis.tar_shards.tar_files`). A path or an address.
        root: Folder of the paths in a list; that of the list if None.
        column: Column of the paths in a CSV or Parquet file; ``path`` if None.

    Returns:
        The source.

    Raises:
        ValueError: If there is a ``root`` or ``column`` and no list, or none with columns.
    """
    text = os.fspath(place).removeprefix('file://')
    suffix = os.path.splitext(text)[1].lower()
    is_local_folder = not is_address(text) and os.path.isdir(text)
    if suffix in LIST_SUFFIXES and not is_local_folder:
        if suffix == '.txt' and column is not None:
            raise ValueError(f'column: expected none beside {text}, a path per line, got {column!r}')
        above = os.path.dirname(text) if root is None else os.fspath(root).removeprefix('file://')
        return ImageSource(text, 'list', above if is_address(above) else os.path.abspath(above), column)
    if root is not None or column is not None:
        raise ValueError(
            f'root and column: expected none beside {text}, got some: they are for a list of paths '
            f'({", ".join(LIST_SUFFIXES)})'
        )
    if suffix == '.tar' and not is_local_folder:
        fixed = text[: min((text.find(sign) for sign in _MAGIC if sign in text), default=len(text))]
        return ImageSource(text, 'tars', os.path.dirname(fixed))
    if is_address(text):
        is_image = suffix in IMAGE_EXTENSIONS and is_stored_file(text)
        return ImageSource(text, 'folder', os.path.dirname(text) if is_image else text.rstrip('/'))
    return ImageSource(text, 'folder', os.path.dirname(text) if os.path.isfile(text) else text)


def image_name(root: str, image: ListedImage) -> str:
    """Return what loaders are to open.

    Args:
        root: Folder to which the image is relative.
        image: The image.

    Returns:
        A path, or a name of :func:`~wsol_mm.utils.stored_files.stored_name`.
    """
    if image.tar:
        return stored_name(_joined(root, image.tar), image.offset, image.size)
    path = _joined(root, image.path)
    return stored_name(path) if is_address(root) else path


def _joined(root: str, path: str) -> str:
    return f'{root.rstrip("/")}/{path}' if is_address(root) else os.path.join(root, path)


def distinctly_named(images: Iterable[ListedImage], place: str) -> Iterator[ListedImage]:
    """Give names to images as :func:`~wsol_mm.apis.image_listing.distinct_stems` does, for any number.

    What is taken is kept in a temporary database on the disk. An image that is listed again is left out; the
    log says how many.

    Args:
        images: Images without names.
        place: Where they are listed.

    Yields:
        The images with names.
    """
    repeated = 0
    with closing(sqlite3.connect('')) as disk:
        disk.execute('CREATE TABLE images (path BLOB UNIQUE, tar BLOB, start INTEGER, size INTEGER)')
        disk.execute('CREATE TABLE taken (name BLOB PRIMARY KEY, count INTEGER) WITHOUT ROWID')
        for image in images:
            row = (os.fsencode(image.path), os.fsencode(image.tar), image.offset, image.size)
            if not disk.execute('INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?)', row).rowcount:
                repeated += 1
                continue
            for name in (image.path, os.path.splitext(image.path)[0]):
                disk.execute(
                    'INSERT INTO taken VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET count = count + 1',
                    (os.fsencode(name.lower()),),
                )
        for path, tar, offset, size in disk.execute('SELECT * FROM images ORDER BY rowid'):
            text = os.fsdecode(path)
            stem = os.path.splitext(text)[0]
            taken = disk.execute('SELECT count FROM taken WHERE name = ?', (os.fsencode(stem.lower()),))
            name = stem if taken.fetchone() == (1,) else text
            yield ListedImage(text, name, os.fsdecode(tar), offset, size)
    if repeated:
        print_log(f'{place}: {repeated} image(s) are listed again; each is taken once', 'current')
