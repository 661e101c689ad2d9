"""Boxes in a Parquet file, one per row."""

from pathlib import Path

from wsol_mm.datasets.dataset_problems import DatasetError, DatasetProblems
from wsol_mm.utils.parquet_files import reading_parquet

from .box_annotations import ImageBoxes
from .list_files import finite_floats

_COORDINATES = ('x0', 'y0', 'x1', 'y1')
#: Rows that are read at a time.
_ROWS = 4096


def read_box_parquet(path: str | Path, problems: DatasetProblems) -> dict[str, ImageBoxes]:
    """Read boxes from a Parquet file with the columns ``path, x0, y0, x1, y1`` and perhaps ``label``.

    Args:
        path: The file; other columns are passed over.
        problems: Where rows that are no boxes are reported.

    Returns:
        Boxes by path as written.

    Raises:
        DatasetError: If it is no such file.
        ImportError: If there is no pyarrow.
    """
    found: dict[str, ImageBoxes] = {}
    with (
        reading_parquet(str(path), DatasetError) as parquet,
        open(path, 'rb') as stream,
        parquet.ParquetFile(stream) as table,
    ):
        names = table.schema_arrow.names
        missing = [name for name in ('path', *_COORDINATES) if name not in names]
        if missing:
            raise DatasetError(f'{path}: expected the columns path, x0, y0, x1, y1, got none of {missing}')
        columns = ['path', *_COORDINATES, *(['label'] if 'label' in names else [])]
        number = 0
        for batch in table.iter_batches(_ROWS, columns=columns):
            for row in batch.to_pylist():
                number += 1
                try:
                    box = finite_floats([row[name] for name in _COORDINATES])
                except (TypeError, ValueError) as error:
                    problems.add(
                        'row that is no box',
                        f'{path}, row {number}: expected x0, y0, x1, y1 as numbers, got others ({error})',
                    )
                    continue
                entry = found.setdefault(str(row['path']), ImageBoxes([], []))
                entry.boxes.append(box)
                label = row.get('label')
                entry.labels.append(None if label is None else str(label))
    return found
