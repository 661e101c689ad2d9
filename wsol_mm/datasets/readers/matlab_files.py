"""MATLAB files with which some data sets are published."""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsol_mm.datasets.dataset_problems import DatasetError

from mat4py.loadmat import ParseError, loadmat


def read_mat(path: str | Path) -> dict[str, Any]:
    """Read a MATLAB file (version 5).

    Args:
        path: The file.

    Returns:
        Its variables: numbers and strings, lists of them for arrays and cells, and dicts of lists for arrays
        of structures.

    Raises:
        FileNotFoundError: If there is no such file.
        DatasetError: If it is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'expected a MATLAB file, got nothing at {path}')
    try:
        return loadmat(str(path))
    except (ParseError, ValueError, TypeError, IndexError, struct.error, zlib.error) as error:
        raise DatasetError(
            f'{path}: expected a MATLAB file of version 5, got another file ({error})'
        ) from error


def columns(path: str | Path, variables: Mapping[str, Any], names: list[str]) -> list[list[Any]]:
    """Take the named arrays or cells out of a file, as flat lists of the same length.

    Args:
        path: The file, for messages.
        variables: Its variables, or the fields of a structure in it.
        names: Their names.

    Returns:
        One list per name.

    Raises:
        DatasetError: If one is missing, or their lengths differ.
    """
    missing = [name for name in names if name not in variables]
    if missing:
        raise DatasetError(f'{path}: expected {", ".join(missing)}, got {sorted(variables)}')
    lists = [flatten(variables[name]) for name in names]
    if len({len(values) for values in lists}) > 1:
        lengths = {name: len(values) for name, values in zip(names, lists, strict=True)}
        raise DatasetError(f'{path}: expected as many values of each, got {lengths}')
    return lists


def flatten(value: Any) -> list[Any]:
    """Return the strings and numbers in nested lists as one list, in order."""
    if not isinstance(value, (list, tuple)):
        return [value]
    return [leaf for part in value for leaf in flatten(part)]
