from wsol_mm.datasets.readers.list_files import finite_floats, read_lines, split_fields

import pytest


def test_read_lines(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_bytes('\ufeffone\r\n\r\n  two words \nlast'.encode())
    assert list(read_lines(path)) == [(1, 'one'), (3, 'two words'), (4, 'last')]
    with pytest.raises(FileNotFoundError, match='expected a list file, got nothing at .*none.txt'):
        list(read_lines(tmp_path / 'none.txt'))


def test_fields():
    assert split_fields('a, b ,c', 3, ',') == ['a', 'b', 'c']
    with pytest.raises(ValueError, match='expected 3 fields, got 2'):
        split_fields('a b', 3)
    assert finite_floats(['1', '-2.5e1']) == [1.0, -25.0]
    for bad in ('nan', 'inf', '-inf'):
        with pytest.raises(ValueError, match='expected finite numbers, got'):
            finite_floats(['1', bad])
