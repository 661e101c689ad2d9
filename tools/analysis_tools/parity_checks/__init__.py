"""Checks of this library against outputs of the reference implementations.

A case is ``<name>.npz`` with ``<name>.json`` in a folder named after its system. Each module here
registers checks for some systems; :func:`find_check` picks by system and content, so that
further cases of a known kind need no new code.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Comparison:
    """One compared quantity: it agrees if ``error <= tolerance``."""

    name: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the quantity agrees; a NaN error never does."""
        return bool(self.error <= self.tolerance)


@dataclass(frozen=True)
class Case:
    """One reference case.

    Attributes:
        system: Name of the folder, e.g. ``ts_cam``.
        name: File name without suffix.
        meta: The JSON file.
        arrays: The npz file, or an empty mapping if there is none.
        folder: Where the files are.
    """

    system: str
    name: str
    meta: dict[str, Any]
    arrays: Mapping[str, NDArray]
    folder: Path = Path()

    @classmethod
    def load(cls, path: Path) -> 'Case':
        """Read a case from its npz or JSON file.

        Raises:
            FileNotFoundError: If the JSON file is missing.
        """
        description = path.with_suffix('.json')
        if not description.is_file():
            raise FileNotFoundError(f'{path} has no description {description.name} beside it')
        archive = path.with_suffix('.npz')
        arrays = np.load(archive) if archive.is_file() else {}
        return cls(path.parent.name, path.stem, json.loads(description.read_text()), arrays, path.parent)


CheckFunction = Callable[[Case], list[Comparison]]
_checks: list[tuple[str, Callable[[Case], bool], CheckFunction]] = []


def register(system: str, matches: Callable[[Case], bool]) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check for the cases of a system for which ``matches`` is true."""

    def decorate(function: CheckFunction) -> CheckFunction:
        _checks.append((system, matches, function))
        return function

    return decorate


def find_check(case: Case) -> CheckFunction | None:
    """The check of a case, or None if there is none (which counts as a failure)."""
    for system, matches, function in _checks:
        if system == case.system and matches(case):
            return function
    return None


def equal(name: str, found: Any, expected: Any) -> Comparison:
    """Compare for equality; the error is the number of different entries."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return Comparison(f'{name} (shape {found.shape} for {expected.shape})', float('inf'), 0.0)
    return Comparison(name, float(np.count_nonzero(found != expected)), 0.0)


def close(name: str, found: Any, expected: Any, tolerance: float) -> Comparison:
    """Compare within an absolute tolerance; NaN is equal to NaN."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        return Comparison(f'{name} (shape {found.shape} for {expected.shape})', float('inf'), tolerance)
    same = np.isnan(found) & np.isnan(expected)
    error = np.where(same, 0.0, np.abs(found - expected))
    return Comparison(name, float(error.max(initial=0.0)), tolerance)
