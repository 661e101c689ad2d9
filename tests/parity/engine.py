"""The checks of reference cases: adapters register themselves, and the command runs them on paths.

An adapter is a module of :mod:`tests.parity.adapters`. It registers functions for the cases of a system:

- :func:`computes`: the function returns what the library computes, by the names of the arrays of the case. It
  runs in float32 and in float64, and every array of the case is compared (:mod:`tests.parity.comparison`).
- :func:`checks`: the function compares by itself, for what is exact: boxes, counts, samplers, recipes.
"""

import pkgutil
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pathlib import Path

# wsol_mm comes first: it makes a torchvision built for CUDA importable beside a CPU-only torch.
import wsol_mm  # noqa: F401

import torch

from .case import Case
from .comparison import Comparison, Found, Share, Tolerance, compare_case, stated_tolerance
from .rounding import RoundedArithmetic

#: How often the rounding of float32 is emulated before a case fails.
_ROUNDED_RUNS = 3

Check = Callable[[Case], Iterable[Comparison]]
_checks: list[tuple[str, Callable[[Case], bool], Check]] = []


def checks(system: str, matches: Callable[[Case], bool]) -> Callable[[Check], Check]:
    """Register a check for the cases of a system for which ``matches`` is true; the first one counts."""

    def decorate(function: Check) -> Check:
        _checks.append((system, matches, function))
        return function

    return decorate


def computes(
    system: str,
    matches: Callable[[Case], bool],
    tolerance: Tolerance = stated_tolerance,
    share: Share | None = None,
) -> Callable[[Callable[[Case, torch.dtype], Found]], Check]:
    """Register a function that computes the arrays of a case in a precision: ``compute`` of its check.

    ``tolerance`` and ``share`` are those of :func:`~tests.parity.comparison.compare_case`.
    """
    options = {} if share is None else {'share': share}

    def decorate(function: Callable[[Case, torch.dtype], Found]) -> Check:
        def check_arrays(case: Case) -> list[Comparison]:
            single, double = (function(case, dtype) for dtype in (torch.float32, torch.float64))
            results = compare_case(case, single, double, tolerance, **options)
            rounded: list[Found] = []
            # The float32 run of this processor may round less, or switch another ReLU, than others do.
            while len(rounded) < _ROUNDED_RUNS and _may_be_rounding(results):
                with RoundedArithmetic(seed=len(rounded)):
                    rounded.append(function(case, torch.float64))
                results = compare_case(case, single, double, tolerance, rounded, **options)
            return results

        check_arrays.compute = function
        return checks(system, matches)(check_arrays)

    return decorate


def _may_be_rounding(results: Iterable[Comparison]) -> bool:
    """Whether something does not agree, and nothing by more than rounding can explain."""
    failed = [result for result in results if not result.ok]
    return bool(failed) and all(result.error <= result.rounding for result in failed)


@cache
def _load_adapters() -> None:
    from . import adapters

    for module in pkgutil.iter_modules(adapters.__path__):
        import_module(f'{adapters.__name__}.{module.name}')


def find_check(case: Case) -> Check | None:
    """The check of a case, or None if there is none (which counts as a failure)."""
    _load_adapters()
    return next((check for system, fits, check in _checks if system == case.system and fits(case)), None)


def compare(case: Case) -> list[Comparison]:
    """Return all comparisons of a case.

    Raises:
        LookupError: If no adapter knows such a case.
    """
    check_case = find_check(case)
    if check_case is None:
        raise LookupError('expected a check for this case, got none')
    return list(check_case(case))


def check(path: Path) -> tuple[bool, str]:
    """Check one case.

    Returns:
        Whether it agrees, and the line to print.
    """
    case = Case.load(path)
    title = f'{case.system}/{case.name}'
    if find_check(case) is None:
        return False, f'FAIL {title}: no check for this case'
    try:
        comparisons = compare(case)
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError, FileNotFoundError) as error:
        # What a case raises that its check cannot read; the other cases are still checked.
        reason = ' '.join(str(error).split())
        return False, f'FAIL {title}: {type(error).__name__}: {reason}'
    if not comparisons:
        return False, f'FAIL {title}: nothing was compared'
    worst = max(comparisons, key=lambda comparison: comparison.ratio)
    failed = sum(not comparison.ok for comparison in comparisons)
    line = (
        f'{title}: {len(comparisons)} quantities, '
        f'worst {worst.name}: {worst.error:.3g} of {worst.tolerance:.3g}'
    )
    return (False, f'FAIL {line} ({failed} fail)') if failed else (True, f'ok   {line}')
