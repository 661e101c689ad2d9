"""Check this library against outputs of the reference implementations.

Example::

    python tools/analysis_tools/check_parity.py tests/data/parity

Every PATH is a case (npz or JSON file), a folder of cases, or a folder of such folders. One line per case:
``ok`` or ``FAIL``, the quantity with the largest error over its tolerance, and that ratio. The exit status is
1 if any case fails or has no check.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

# wsol_mm comes first: it makes a torchvision built for CUDA importable beside a CPU-only torch.
import wsol_mm  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parent))

from parity_checks import Case, Comparison, find_check  # noqa: E402
from parity_checks.modules import import_checks  # noqa: E402


def find_cases(path: Path) -> Iterator[Path]:
    """Yield one path per case under a file or folder.

    Raises:
        FileNotFoundError: If there is no case.
    """
    if path.suffix in ('.npz', '.json'):
        if not path.is_file():
            raise FileNotFoundError(f'no such case: {path}')
        yield path
        return
    cases = sorted({file.with_suffix('') for pattern in ('*.npz', '*.json') for file in path.rglob(pattern)})
    if not cases:
        raise FileNotFoundError(f'no case (npz, json) under {path}')
    for case in cases:
        yield case.with_name(case.name + '.json')


def check(path: Path) -> tuple[bool, str]:
    """Check one case.

    Returns:
        Whether it agrees, and the line to print.
    """
    case = Case.load(path)
    title = f'{case.system}/{case.name}'
    function = find_check(case)
    if function is None:
        return False, f'FAIL {title}: no check for this case'
    try:
        comparisons = function(case)
    except (LookupError, ValueError, RuntimeError, FileNotFoundError) as error:
        # What a case raises that its check cannot read; the other cases are still checked.
        reason = ' '.join(str(error).split())
        return False, f'FAIL {title}: {type(error).__name__}: {reason}'
    if not comparisons:
        return False, f'FAIL {title}: nothing was compared'
    worst = max(comparisons, key=_ratio)
    failed = [comparison for comparison in comparisons if not comparison.ok]
    line = (
        f'{title}: {len(comparisons)} quantities, '
        f'worst {worst.name}: {worst.error:.3g} of {worst.tolerance:.3g}'
    )
    return (False, f'FAIL {line} ({len(failed)} fail)') if failed else (True, f'ok   {line}')


def _ratio(comparison: Comparison) -> float:
    if comparison.ok:
        return comparison.error / comparison.tolerance if comparison.tolerance else 0.0
    return float('inf') if comparison.tolerance == 0 else max(comparison.error / comparison.tolerance, 1.0)


def main() -> int:
    """Parse the command line and check all cases; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n\n')[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'paths', nargs='+', type=Path, metavar='PATH', help='case, folder, or folder of folders'
    )
    args = parser.parse_args()
    import_checks()
    failures = 0
    try:
        cases = [case for path in args.paths for case in find_cases(path)]
    except FileNotFoundError as error:
        parser.error(str(error))
    for path in cases:
        passed, line = check(path)
        failures += not passed
        print(line, flush=True)
    print(f'{len(cases) - failures} of {len(cases)} cases agree')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
