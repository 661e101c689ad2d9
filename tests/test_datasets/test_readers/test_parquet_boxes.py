"""Boxes in Parquet files; that those written by predict.py are read, tests of the formats say."""

from wsol_mm.datasets.dataset_problems import DatasetError, DatasetProblems
from wsol_mm.datasets.readers.parquet_boxes import read_box_parquet

import pytest

arrow = pytest.importorskip('pyarrow')
parquet = pytest.importorskip('pyarrow.parquet')
BOXES = {
    'path': ['a.jpg', 'b.jpg', 'a.jpg'],
    'x0': [1, 2, 3],
    'y0': [1.5, 2, 3],
    'x1': [5, 6, 7],
    'y1': [8, 9, 9],
}


def test_values_and_rows_that_are_none(tmp_path):
    file = tmp_path / 'boxes.parquet'
    problems = DatasetProblems('test', 'skip')
    parquet.write_table(arrow.table(BOXES), file, row_group_size=2)
    found = read_box_parquet(file, problems)
    assert found['a.jpg'] == ([[1, 1.5, 5, 8], [3, 3, 7, 9]], [None, None], None) and not problems
    rows = BOXES | {'y0': [1.0, None, float('inf')], 'label': ['cat', 'dog', None]}
    parquet.write_table(arrow.table(rows), file)
    assert read_box_parquet(file, problems) == {'a.jpg': ([[1, 1, 5, 8]], ['cat'], None)}
    assert len(problems) == 2
    assert 'boxes.parquet, row 2: expected x0, y0, x1, y1 as numbers, got others' in str(problems.messages)


def test_other_files(tmp_path):
    file = tmp_path / 'boxes.parquet'
    parquet.write_table(arrow.table({'path': ['a'], 'x0': [1]}), file)
    with pytest.raises(
        DatasetError, match=r"expected the columns path, x0, y0, x1, y1, got none of \['y0', "
    ):
        read_box_parquet(file, DatasetProblems('test'))
    file.write_bytes(b'PAR1 and no more')
    with pytest.raises(
        DatasetError, match='boxes.parquet: expected a Parquet file, got a damaged or another one'
    ):
        read_box_parquet(file, DatasetProblems('test'))
