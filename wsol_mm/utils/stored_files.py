"""Files at addresses, such as ``s3://bucket/image.jpg``, and parts of files, such as an image in a tar file.

fsspec knows the file systems. For MMEngine's readers, such a file has a name (:func:`stored_name`) that a
file backend understands: loaders of images notice nothing.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

from mmengine.fileio import BaseStorageBackend, register_backend

from .optional_packages import optional_package

_PREFIX = 'stored'
#: Files of which parts are read stay open: the one in use and, at a border, its neighbour.
_OPEN = 2


def is_address(path: object) -> bool:
    """Tell whether a path is an address of fsspec."""
    return '://' in str(path)


@contextmanager
def storage_errors(address: str) -> Iterator[None]:
    """Let every error of a file system speak of the address; libraries of networks raise what they like.

    Raises:
        ImportError: If a package is missing that knows the file system.
        OSError: In place of all others.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f'expected a file or folder, got nothing at {address}') from error
    except (ImportError, OSError):
        raise
    except Exception as error:
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        raise OSError(f'{address}: expected an address that can be read, got an error: {reason}') from error


def file_system(address: str) -> tuple[Any, str]:
    """Find the file system of an address.

    Args:
        address: Address with a scheme that fsspec knows.

    Returns:
        The file system, and the path in it.

    Raises:
        ImportError: If fsspec, or what it needs for the scheme, is not installed.
        OSError: If there is no such scheme.
    """
    core = optional_package('fsspec.core', address)
    with storage_errors(address):
        return core.url_to_fs(address)


def open_stored(path: str) -> BinaryIO:
    """Open a local file or an address for reading.

    Args:
        path: Path or address.

    Returns:
        The file, which can be read from any place on.

    Raises:
        ImportError: As :func:`file_system`.
        OSError: If it cannot be read.
    """
    if not is_address(path):
        if not os.path.exists(path):
            raise FileNotFoundError(f'expected a file, got nothing at {path}')
        return open(path, 'rb')
    system, inside = file_system(path)
    with storage_errors(path):
        return system.open(inside, 'rb')


def stored_name(path: str, offset: int | None = None, size: int = 0) -> str:
    """Return what MMEngine's readers call a file, or a part of one.

    Args:
        path: Local path or address of the file.
        offset: Where the part begins; None for the whole file.
        size: Its bytes.

    Returns:
        The name.
    """
    part = '' if offset is None else f'?{offset}+{size}'
    return f'{_PREFIX}://{quote(os.fsencode(path), safe="")}{part}'


class StoredFiles(BaseStorageBackend):
    """Reads what :func:`stored_name` names."""

    def get(self, filepath: str) -> bytes:
        """Read a file, or a part of one.

        Args:
            filepath: Its name.

        Returns:
            Its bytes.

        Raises:
            OSError: If it cannot be read, or is shorter.
        """
        quoted, _, part = str(filepath).partition('://')[2].partition('?')
        path = unquote(quoted, errors='surrogateescape')
        if not part:
            with open_stored(path) as file, storage_errors(path):
                return file.read()
        offset, _, size = part.partition('+')
        with _LOCK, storage_errors(path):
            file = _kept_open(path, os.getpid())
            file.seek(int(offset))
            content = file.read(int(size))
        if len(content) != int(size):
            raise OSError(f'expected {size} bytes from {offset} on in {path}, got {len(content)}')
        return content

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """Read a text."""
        return self.get(filepath).decode(encoding)


# Position and reading belong together, whatever threads there are.
_LOCK = threading.Lock()


@lru_cache(maxsize=_OPEN)
def _kept_open(path: str, process: int) -> BinaryIO:
    """Open a file once in each process: those that share an open file would share its position."""
    return open_stored(path)


register_backend(_PREFIX, StoredFiles, prefixes=_PREFIX, force=True)
