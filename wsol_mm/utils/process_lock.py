"""Keeps a second process from doing the same work at the same time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]


@contextmanager
def process_lock(file: Path) -> Iterator[None]:
    """Run the body in one process at a time.

    The system releases the lock when the process ends in whatever way, so that a file that is left over locks
    nobody out; child processes do not inherit it.

    Args:
        file: Lock file, in a folder that exists; removed at the end.

    Raises:
        BlockingIOError: If another process holds the lock.
    """
    while True:
        with open(file, 'a') as stream:
            if fcntl is not None:
                try:
                    fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (BlockingIOError, PermissionError) as error:
                    raise BlockingIOError(
                        f'{file}: expected no other process at work, got one that holds the lock'
                    ) from error
                if not _is_named(stream, file):
                    continue  # removed by its former holder in the meantime: others would make a new one
            try:
                yield
            finally:
                file.unlink(missing_ok=True)
            return


def _is_named(stream: IO[str], file: Path) -> bool:
    """Tell whether an open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), file.stat())
    except FileNotFoundError:
        return False
