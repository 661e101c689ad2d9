"""Images in tar files, as WebDataset lays them out, found without unpacking."""

import glob
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from itertools import product

from wsol_mm.datasets.readers.image_files import IMAGE_EXTENSIONS
from wsol_mm.utils.stored_files import file_system, is_address, open_stored, storage_errors

from .image_listing import ListedImage

_RANGE = re.compile(r'\{(\d+)\.\.(\d+)\}')


def tar_files(pattern: str, root: str) -> list[str]:
    """Find the tar files that a pattern means.

    Args:
        pattern: Path or address, with ``*``, ``?`` or ``[...]`` for what is there, or ranges ``{000..127}``.
        root: Folder above all of them: what the pattern begins with.

    Returns:
        Paths or addresses, sorted; those of ranges in the order of their numbers.

    Raises:
        FileNotFoundError: If there is none.
    """
    named = [''.join(parts) for parts in product(*_alternatives(pattern))]
    found = [path for name in named for path in (_matches(name, root) if glob.has_magic(name) else [name])]
    if not found:
        raise FileNotFoundError(f'{pattern}: expected tar files, got nothing there')
    return found


def _alternatives(pattern: str) -> Iterator[list[str]]:
    place = 0
    for match in _RANGE.finditer(pattern):
        yield [pattern[place : match.start()]]
        first, last = match.groups()
        yield [f'{number:0{len(first)}d}' for number in range(int(first), int(last) + 1)]
        place = match.end()
    yield [pattern[place:]]


def _matches(pattern: str, root: str) -> list[str]:
    if not is_address(pattern):
        return sorted(glob.glob(pattern))
    system, inside = file_system(pattern)
    above = file_system(root)[1]
    with storage_errors(pattern):
        return [f'{root}/{path[len(above) :].lstrip("/")}' for path in sorted(system.glob(inside))]


def tar_images(tar: str, root: str, skipped: Counter[str]) -> Iterator[ListedImage]:
    """Find the images in a tar file, from the headers of its members.

    Hidden members are left out.

    Args:
        tar: Path or address.
        root: Folder to which the path of the tar file is relative.
        skipped: Other members are counted here, by their suffix in lower case.

    Yields:
        The images in the order of the file, without names; their paths begin with that of the tar file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged or compressed, or a member has a path that leads elsewhere.
    """
    relative = tar[len(root) :].lstrip('/')
    with open_stored(tar) as stream:
        for member in _members(tar, stream):
            parts = [part for part in member.name.split('/') if part not in ('', '.')]
            if member.name.startswith('/') or '..' in parts or '\0' in member.name:
                raise ValueError(
                    f'{tar}: expected members with paths inside the tar file, got {member.name!r}'
                )
            if not member.isreg() or member.issparse() or any(part.startswith('.') for part in parts):
                continue
            if not parts[-1].lower().endswith(IMAGE_EXTENSIONS):
                skipped[os.path.splitext(parts[-1])[1].lower()] += 1
                continue
            path = f'{relative}/{"/".join(parts)}'
            yield ListedImage(path, '', relative, member.offset_data, member.size)


def _members(tar: str, stream: object) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(fileobj=stream, mode='r:', errors='surrogateescape') as file:  # type: ignore[call-overload]
            while (member := file.next()) is not None:
                yield member
                file.members.clear()  # it keeps them all
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise ValueError(
            f'{tar}: expected an uncompressed tar file, got a damaged or another one '
            f'({type(error).__name__}: {error})'
        ) from error
