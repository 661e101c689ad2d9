"""Lists of image paths: a text file, or a column of a CSV or Parquet file."""

import csv
import io
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from wsol_mm.utils.optional_packages import optional_package
from wsol_mm.utils.parquet_files import reading_parquet
from wsol_mm.utils.stored_files import is_address, open_stored

#: What files of paths end in.
LIST_SUFFIXES = ('.txt', '.csv', '.parquet')
#: Column of the paths, unless another one is named.
PATH_COLUMN = 'path'
#: Rows of a Parquet file that are in memory.
_ROWS = 4096


def listed_paths(file: str, root: str, column: str | None = None) -> Iterator[str]:
    """Read the paths in a list.

    Args:
        file: Path or address of a text file with a path a line, or a CSV or Parquet file with a column of
            paths; which of them, its suffix says.
        root: Folder below which all of them lie.
        column: Name of the column; :data:`PATH_COLUMN` if None.

    Yields:
        The paths relative to ``root``, with ``/`` between the parts.

    Raises:
        ImportError: If it is a Parquet file and there is no pyarrow.
        OSError: If the file cannot be read.
        ValueError: If it is no such file, or a path lies elsewhere.
    """
    suffix = os.path.splitext(file)[1].lower()
    if suffix == '.txt':
        entries = _text_entries(file)
    elif suffix == '.csv':
        entries = _csv_entries(file, column or PATH_COLUMN)
    else:
        entries = _parquet_entries(file, column or PATH_COLUMN)
    for place, path in entries:
        yield _inside(path, root, f'{file}, {place}')


def _inside(path: str, root: str, place: str) -> str:
    """Return a path relative to the root."""
    relative = path
    if is_address(path) or os.path.isabs(path):
        above = root.rstrip('/') + '/'
        if is_address(path) != is_address(root) or not path.startswith(above):
            raise ValueError(
                f'{place}: expected a path below {root}, got {path!r}. Another root is to be given, if it '
                'is meant'
            )
        relative = path[len(above) :]
    parts = relative.replace(os.sep, '/').split('/')
    if '..' in parts or '\0' in relative or not relative.strip('/.'):
        raise ValueError(f"{place}: expected the path of a file without '..', got {path!r}")
    return posixpath.normpath('/'.join(parts))


@contextmanager
def _open_text(file: str) -> Iterator[TextIO]:
    try:
        with io.TextIOWrapper(open_stored(file), encoding='utf-8-sig', newline='') as stream:
            yield stream
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{file}: expected a UTF-8 text file, got bytes that do not decode ({error})'
        ) from error


def _text_entries(file: str) -> Iterator[tuple[str, str]]:
    with _open_text(file) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield f'line {number}', line.strip()


def _csv_entries(file: str, column: str) -> Iterator[tuple[str, str]]:
    with _open_text(file) as stream:
        reader = csv.reader(stream)
        try:
            heading = [field.strip() for field in next(reader, [])]
            if column not in heading:
                raise _no_column(file, column, heading)
            place = heading.index(column)
            for row in reader:
                if not row:
                    continue
                if len(row) != len(heading):
                    raise ValueError(
                        f'{file}, line {reader.line_num}: expected {len(heading)} fields as in the heading, '
                        f'got {len(row)}'
                    )
                yield f'line {reader.line_num}', row[place].strip()
        except csv.Error as error:
            raise ValueError(
                f'{file}, line {reader.line_num}: expected a CSV file, got another one ({error})'
            ) from error


def _parquet_entries(file: str, column: str) -> Iterator[tuple[str, str]]:
    types = optional_package('pyarrow', file).types
    with (
        reading_parquet(file) as parquet,
        open_stored(file) as stream,
        parquet.ParquetFile(stream) as table,
    ):
        schema = table.schema_arrow
        if column not in schema.names:
            raise _no_column(file, column, schema.names)
        kind = schema.field(column).type
        if not (types.is_string(kind) or types.is_large_string(kind)):
            raise ValueError(f'{file}, column {column!r}: expected text, got {kind}')
        number = 0
        for batch in table.iter_batches(_ROWS, columns=[column]):
            for value in batch.column(0):
                number += 1
                yield f'row {number}', value.as_py() or ''


def _no_column(file: str, column: str, names: list[str]) -> ValueError:
    found = ', '.join(map(repr, names[:8])) + (', ...' if len(names) > 8 else '')
    return ValueError(f'{file}: expected a column {column!r}, got {found or "none"}')
