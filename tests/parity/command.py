"""The command that checks cases: ``tools/analysis_tools/check_parity.py`` calls it."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path


def find_cases(path: Path) -> Iterator[Path]:
    """Yield one path per case under a file or folder.

    Raises:
        FileNotFoundError: If there is no case.
    """
    if path.suffix in ('.npz', '.json'):
        if not path.is_file():
            raise FileNotFoundError(f'expected a case, got nothing at {path}')
        yield path
        return
    cases = sorted({file.with_suffix('') for pattern in ('*.npz', '*.json') for file in path.rglob(pattern)})
    if not cases:
        raise FileNotFoundError(f'{path}: expected cases (npz, json), got none')
    for case in cases:
        yield case.with_name(case.name + '.json')


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the library against outputs of the reference implementations.

    Every PATH is a case (npz or JSON file), a folder of cases, or a folder of such folders. One line per
    case: ``ok`` or ``FAIL``, the quantity with the largest error over its tolerance, and these two. The exit
    status is 1 if any case fails or has no check.
    """
    parser = argparse.ArgumentParser(description=main.__doc__.split('\n\n')[0])
    parser.add_argument(
        'paths', nargs='+', type=Path, metavar='PATH', help='case, folder, or folder of folders'
    )
    try:
        cases = [case for path in parser.parse_args(arguments).paths for case in find_cases(path)]
    except FileNotFoundError as error:
        parser.error(str(error))
    # Heavy imports, after the arguments are known to be right.
    from .engine import check

    failures = 0
    for path in cases:
        passed, line = check(path)
        failures += not passed
        print(line, flush=True)
    print(f'{len(cases) - failures} of {len(cases)} cases agree')
    return 1 if failures else 0
