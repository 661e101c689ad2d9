"""Types of arguments that several tools have, for ``add_argument(type=...)``.

What cannot be used is refused before any work is done; argparse puts the argument's name before the message.
"""

import argparse
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .config_options import split_values

#: What pictures of curves may end in.
FIGURE_SUFFIXES = ('.png', '.pdf', '.svg')


def output_file(text: str) -> Path:
    """Check that a file can be written, over one that is there or anew; the disk is left as it is.

    Args:
        text: The argument. Folders above the file may be missing.

    Returns:
        The same path.

    Raises:
        argparse.ArgumentTypeError: If it cannot be written, with the reason.
    """
    path = Path(text)
    with _unwritable(path):
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"expected a file, got the folder '{path}'")
        if path.is_file():
            path.open('ab').close()
        elif not path.exists():  # a pipe or a device is taken as it is
            _check_place(path)
    return path


def output_file_of(*suffixes: str) -> Callable[[str], Path]:
    """Make the type of a file to write whose name tells what it becomes.

    Args:
        *suffixes: What it may end in, in lower case; compared without regard to case.

    Returns:
        A function that reads an argument, as :func:`output_file` does.
    """

    def file(text: str) -> Path:
        if Path(text).suffix.lower() not in suffixes:
            accepted = ', '.join(suffixes)
            raise argparse.ArgumentTypeError(f"expected a file that ends in {accepted}, got '{text}'")
        return output_file(text)

    return file


def output_folder(text: str) -> Path:
    """Check that files can be written into a folder, which may be missing; the disk is left as it is.

    Args:
        text: The argument.

    Returns:
        The same path.

    Raises:
        argparse.ArgumentTypeError: If they cannot be written, with the reason.
    """
    path = Path(text)
    with _unwritable(path):
        if path.exists() and not path.is_dir():
            raise argparse.ArgumentTypeError(f"expected a folder, got the file '{path}'")
        _check_place(path, is_folder=True)
    return path


def new_output(text: str) -> Path:
    """Check that a new file or folder can be made; the disk is left as it is.

    Args:
        text: The argument. Folders above may be missing. If the path exists, this says nothing of it.

    Returns:
        The same path.

    Raises:
        argparse.ArgumentTypeError: If it cannot be made, with the reason.
    """
    path = Path(text)
    with _unwritable(path):
        _check_place(path)
    return path


def integer_within(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """Make the type of an integer that lies in a range.

    Args:
        lowest: The smallest that is accepted.
        highest: The largest; without end if None.

    Returns:
        A function that reads an argument; it raises argparse.ArgumentTypeError if it is no such integer.
    """

    def integer(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < lowest or (highest is not None and value > highest):
            end = '' if highest is None else f' to {highest}'
            raise argparse.ArgumentTypeError(f"expected an integer from {lowest}{end}, got '{text}'")
        return value

    return integer


def seed_list(text: str) -> list[int]:
    """Read seeds, as ``SEEDS`` of ``tools/slurm_train.sh``.

    Args:
        text: The argument, as ``0-4`` or ``0,2,7``.

    Returns:
        The seeds, in this order.

    Raises:
        argparse.ArgumentTypeError: If it is something else, or a seed stands twice.
    """
    seeds: list[int] = []
    for part in text.split(','):
        match = re.fullmatch(r'(\d{1,9})(?:-(\d{1,9}))?', part, re.ASCII)
        numbers = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
        if not 1 <= len(numbers) <= 100:
            raise argparse.ArgumentTypeError(
                f"expected seeds as in 0-4 or 0,2,7, up to 100 in a range, got '{text}'"
            )
        seeds += numbers
    if len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"expected each seed once, got '{text}'")
    return seeds


def setting_values(text: str) -> tuple[str, list[str]]:
    """Read a setting of a config with several values.

    Args:
        text: The argument, ``KEY=VALUE,...``.

    Returns:
        The key, and the values as they are written.

    Raises:
        argparse.ArgumentTypeError: If it is not of this form, or a value stands twice.
    """
    key, _, values = text.partition('=')
    try:
        parts = list(split_values(values))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{key}: {error}') from None
    if not key or not all(parts) or len(set(parts)) < len(parts):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE,... with different values, got '{text}'")
    return key, parts


def shard_of(text: str) -> tuple[int, int]:
    """Read which part of something a process takes.

    Args:
        text: The argument, ``I/N``.

    Returns:
        Number of the part, from 1, and how many there are.

    Raises:
        argparse.ArgumentTypeError: If it is not of this form, or there is no such part.
    """
    number, _, count = text.partition('/')
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"expected I/N, the I-th of N parts, such as 1/4, got '{text}'")
    return int(number), int(count)


def map_threshold(text: str) -> float:
    """Read a threshold on a localization map.

    Args:
        text: The argument.

    Returns:
        The threshold.

    Raises:
        argparse.ArgumentTypeError: If it is no number in [0, 1).
    """
    try:
        threshold = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number in [0, 1), got '{text}'") from None
    if not 0 <= threshold < 1:
        raise argparse.ArgumentTypeError(f'expected a number in [0, 1), got {threshold}')
    return threshold


def share(text: str) -> float:
    """Read a number from 0 to 1.

    Args:
        text: The argument.

    Returns:
        The number.

    Raises:
        argparse.ArgumentTypeError: If it is another one, or none.
    """
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number in [0, 1], got '{text}'") from None
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f'expected a number in [0, 1], got {number}')
    return number


def _check_place(path: Path, is_folder: bool = False) -> None:
    """Raise an error unless the lowest existing folder above a path, or the path itself, takes files.

    Permissions alone do not tell: the administrator has them all, and still nobody can write to /proc.
    """
    candidates = (path, *path.parents) if is_folder else path.parents
    above = next((folder for folder in candidates if folder.exists()), Path())
    if not above.is_dir():
        raise argparse.ArgumentTypeError(
            f"expected a path that can be written, got '{path}': '{above}' is not a folder"
        )
    with tempfile.TemporaryFile(dir=above):
        pass


@contextmanager
def _unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"expected a path that can be written, got '{path}': {error.strerror or error}"
        ) from error
