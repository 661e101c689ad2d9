"""Parquet: one box per row."""

from pathlib import Path

from wsol_mm.utils.file_names import printable
from wsol_mm.utils.optional_packages import optional_package

from .image_annotation import Annotations

_DECIMALS = 2
_COORDINATES = ('x0', 'y0', 'x1', 'y1')
#: Rows that are in memory, and a group in the file.
_ROWS = 65536


def write_parquet(annotations: Annotations, out: Path) -> None:
    """Write a row for every box.

    The columns are ``path, x0, y0, x1, y1, label, score, confidence, image_width, image_height``.

    Coordinates are those of CSV. Images without boxes have no row. ``description`` and, if it is known, where
    the ``labels`` come from are metadata of the schema. Of names that are no UTF-8, bytes are replaced.

    Args:
        annotations: What to write.
        out: File to write.

    Raises:
        ImportError: If there is no pyarrow.
    """
    arrow = optional_package('pyarrow', str(out))
    parquet = optional_package('pyarrow.parquet', str(out))
    facts = {'description': annotations.description, 'labels': annotations.labels}
    schema = arrow.schema(
        [
            ('path', arrow.string()),
            *((name, arrow.float64()) for name in _COORDINATES),
            ('label', arrow.string()),
            ('score', arrow.float64()),
            ('confidence', arrow.float64()),
            ('image_width', arrow.int32()),
            ('image_height', arrow.int32()),
        ],
        metadata={name: text for name, text in facts.items() if text is not None},
    )
    rows: list[dict] = []
    # To an open file, so that an error of the disk is one of the system.
    with open(out, 'wb') as stream, parquet.ParquetWriter(stream, schema) as file:
        for image in annotations.read():
            path = printable(image.path)
            for label, score, box, confidence in image.rows():
                corners = (round(value, _DECIMALS) for value in box)
                rows.append(
                    {
                        'path': path,
                        **dict(zip(_COORDINATES, corners, strict=True)),
                        'label': annotations.classes[label],
                        'score': round(score, 6),
                        'confidence': round(confidence, 6),
                        'image_width': image.size[0],
                        'image_height': image.size[1],
                    }
                )
            if len(rows) >= _ROWS:
                file.write_table(arrow.Table.from_pylist(rows, schema))
                rows = []
        file.write_table(arrow.Table.from_pylist(rows, schema))
