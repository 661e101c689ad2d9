"""Write files so that they are there whole or not at all, whatever happens meanwhile.

What is written goes under another name into the same folder, is flushed to the disk, and then takes the
place of what was there before. A process that is killed, a disk that is full or a machine that loses power
leaves the former file, or the new one.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: How the name of a file ends that is not finished; it begins with a dot.
PARTIAL_SUFFIX = '.part'
# File systems allow names of 255 bytes; what comes before and behind the name takes some of them.
_LONGEST_NAME = 200


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield another name for a file, which takes its place when the context ends without an error.

    The folder is made. A link is followed. A pipe or a device is written as it is.

    Args:
        path: The file.

    Yields:
        The path to write to, in the same folder; it does not end as ``path`` does.

    Raises:
        OSError: If it cannot be written; always with the name of ``path``.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with naming(path):
            yield target
        return
    name = os.fsdecode(os.fsencode(target.name)[:_LONGEST_NAME])
    part = target.with_name(f'.{name}.{os.getpid()}{PARTIAL_SUFFIX}')
    with naming(path, part):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            flush_to_disk(part)
            os.replace(part, target)
            flush_to_disk(target.parent)
        finally:
            part.unlink(missing_ok=True)


def write_whole(path: str | Path, content: bytes | memoryview | str) -> None:
    """Write a file whole or not at all, see :func:`whole_file`.

    Args:
        path: The file.
        content: Bytes, or text, which becomes UTF-8.

    Raises:
        OSError: If it cannot be written; always with the name of ``path``.
    """
    with whole_file(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: str | Path, content: Any, indent: int | None = 2) -> None:
    """Write values as JSON, whole or not at all.

    Args:
        path: The file.
        content: What JSON can say. A number that it cannot, NaN or infinite, becomes ``null``.
        indent: Spaces by which nested values are indented.

    Raises:
        OSError: If it cannot be written; always with the name of ``path``.
    """
    write_whole(path, json.dumps(_finite(content), indent=indent, allow_nan=False, default=_plain) + '\n')


def publish(partial: Path, target: Path) -> None:
    """Move a finished file or folder to its place, after all of it is on the disk.

    Args:
        partial: What is finished, in the folder of ``target``.
        target: Its place.
    """
    if partial.is_dir():
        for folder, _, names in os.walk(partial):
            for name in names:
                flush_to_disk(Path(folder, name))
            flush_to_disk(Path(folder))
    else:
        flush_to_disk(partial)
    os.replace(partial, target)
    flush_to_disk(target.parent)


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name == 'nt' and path.is_dir():  # where folders cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != 'nt' else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial_files(folder: Path) -> None:
    """Remove what writers have left in a folder that were killed; nobody may be writing there."""
    for path in folder.glob(f'.*{PARTIAL_SUFFIX}'):
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes of this machine have left half written in a folder and those inside.

    What others are writing stays.

    Args:
        folder: The folder; nothing is done if there is none.
    """
    _remove_dead(folder.rglob(f'.*{PARTIAL_SUFFIX}'))


def remove_leftovers_of(files: Iterable[Path]) -> None:
    """Remove what killed processes of this machine have left half written of some files.

    Args:
        files: What the files were to be.
    """
    names: dict[Path, set[str]] = {}
    for file in files:
        shortened = os.fsdecode(os.fsencode(file.name)[:_LONGEST_NAME])
        names.setdefault(file.parent, set()).add(f'.{shortened}')
    for folder, wanted in names.items():
        parts = folder.glob(f'.*{PARTIAL_SUFFIX}')
        _remove_dead(
            part for part in parts if part.name.removesuffix(PARTIAL_SUFFIX).rpartition('.')[0] in wanted
        )


def _remove_dead(parts: Iterable[Path]) -> None:
    for path in parts:
        process = path.name.removesuffix(PARTIAL_SUFFIX).rpartition('.')[2]
        if process.isdigit() and not _is_alive(int(process)):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if os.name == 'nt':  # where to ask means to end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


@contextmanager
def naming(path: str | Path, part: Path | None = None) -> Iterator[None]:
    """Let an error of the system name the file that it is about; the system itself does not always.

    Args:
        path: The file.
        part: Where it is written meanwhile.

    Raises:
        OSError: That of the body, with ``path`` as its file name if it has none, or has ``part``.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, None if part is None else str(part)):
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _plain(value: Any) -> Any:
    """Return a number or an array of NumPy or PyTorch as numbers of Python."""
    if hasattr(value, 'tolist'):
        return _finite(value.tolist())
    raise TypeError(f'expected a value that JSON can hold, got a {type(value).__name__}')
