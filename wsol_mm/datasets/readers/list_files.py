"""Reading of line-based list files, with the file and line in every complaint."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

from wsol_mm.datasets.dataset_problems import DatasetError, DatasetProblems

Parsed = TypeVar('Parsed')


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that are not blank.

    Unix and Windows line ends, a byte order mark and a last line without line end are all accepted.

    Args:
        path: A UTF-8 text file.

    Yields:
        Line number (from 1) and the line without surrounding white space.

    Raises:
        FileNotFoundError: If there is no such file.
        DatasetError: If the file is not UTF-8 text.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'expected a list file, got nothing at {path}')
    try:
        with path.open(encoding='utf-8-sig') as stream:
            for number, line in enumerate(stream, 1):
                line = line.strip()
                if line:
                    yield number, line
    except UnicodeDecodeError as error:
        raise DatasetError(
            f'{path}: expected a UTF-8 text file, got bytes that do not decode ({error})'
        ) from error


def parse_lines(
    path: str | Path, parse: Callable[[str], Parsed], accepted: str, problems: DatasetProblems
) -> Iterator[tuple[int, Parsed]]:
    """Parse every line of a list file; lines that do not parse are reported and left out.

    Args:
        path: The list file.
        parse: From the line to its value; raises ValueError for a line that it does not accept.
        accepted: The line format, for the message.
        problems: Where bad lines are reported.

    Yields:
        Line number and parsed value.

    Raises:
        FileNotFoundError: If there is no such file.
        DatasetError: If the file is not UTF-8 text.
    """
    for number, line in read_lines(path):
        value = parse_line(path, number, line, parse, accepted, problems)
        if value is not None:
            yield number, value


def parse_line(
    path: str | Path,
    number: int,
    line: str,
    parse: Callable[[str], Parsed],
    accepted: str,
    problems: DatasetProblems,
) -> Parsed | None:
    """Parse one line as :func:`parse_lines` does; None if it does not parse, which is reported."""
    try:
        return parse(line)
    except ValueError as error:
        detail = f' ({error})' if str(error) else ''
        problems.add(
            'line that does not parse',
            f'{path}, line {number}: expected {accepted}, got {line[:200]!r}{detail}',
        )
        return None


def keyed_lines(
    path: str | Path,
    parse: Callable[[str], tuple[str, Parsed]],
    accepted: str,
    problems: DatasetProblems,
) -> dict[str, Parsed]:
    """Read a list file of which every line has its own key; a key met again is reported and left out.

    Args:
        path: The list file.
        parse: From the line to (key, value); raises ValueError for a line that it does not accept.
        accepted: The line format, for the message.
        problems: Where bad and repeated lines are reported.

    Returns:
        Values by key, in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        DatasetError: If the file is not UTF-8 text.
    """
    table: dict[str, Parsed] = {}
    for number, (key, value) in parse_lines(path, parse, accepted, problems):
        if key in table:
            problems.add('repeated entry', f'{path}, line {number}: expected {key!r} once, got it again')
        else:
            table[key] = value
    return table


def check_same_keys(
    path: Path, keys: Collection[str], other: Path, others: Collection[str] | None, problems: DatasetProblems
) -> None:
    """Report it if a list of images has fewer keys than another list about them: it may have been cut off.

    Args:
        path: The list of images.
        keys: Its keys.
        other: The other list.
        others: Its keys; None if it was not read.
        problems: Where it is reported.
    """
    unknown = [key for key in others or () if key not in keys]
    if unknown:
        problems.add(
            'lists of different lengths',
            f'{path}: expected the {len(others or ())} images of {other.name}, got {len(keys)}: '
            f'{unknown[0]!r} is not among them',
        )


def split_fields(line: str, count: int, separator: str | None = None) -> list[str]:
    """Split a line into exactly ``count`` fields.

    Args:
        line: The line.
        count: Number of fields.
        separator: What separates them; None for any run of white space.

    Returns:
        The fields, without surrounding white space.

    Raises:
        ValueError: If the number of fields differs.
    """
    fields = [field.strip() for field in line.split(separator)]
    if len(fields) != count:
        raise ValueError(f'expected {count} fields, got {len(fields)}')
    return fields


def finite_floats(fields: list[str]) -> list[float]:
    """Convert fields to finite numbers.

    Args:
        fields: The fields.

    Returns:
        Their values.

    Raises:
        ValueError: If a field is no number, or infinite or NaN.
    """
    try:
        values = [float(field) for field in fields]
    except OverflowError as error:  # an integer of JSON that is too long
        raise ValueError(f'expected finite numbers, got one that is too large ({error})') from error
    # v - v is 0 for every finite number and NaN for the rest
    if any(value - value != 0 for value in values):
        raise ValueError(f'expected finite numbers, got {", ".join(map(str, fields))}')
    return values
