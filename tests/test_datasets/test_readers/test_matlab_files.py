from wsol_mm.datasets import DatasetError
from wsol_mm.datasets.readers.matlab_files import columns, read_mat

import pytest


def test_matlab_files(tmp_path, matlab_dir):
    with pytest.raises(FileNotFoundError, match='no MATLAB file'):
        read_mat(tmp_path / 'a.mat')
    (tmp_path / 'a.mat').write_text('text')
    with pytest.raises(DatasetError, match=r'a.mat: .*accepted are MATLAB files of version 5'):
        read_mat(tmp_path / 'a.mat')
    content = (matlab_dir / 'cars_annos.mat').read_bytes()
    (tmp_path / 'a.mat').write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetError, match=r'a.mat: '):
        read_mat(tmp_path / 'a.mat')
    with pytest.raises(DatasetError, match=r"f.mat has no y; it has \['x'\]"):
        columns('f.mat', {'x': [1]}, ['x', 'y'])
    with pytest.raises(DatasetError, match=r"f.mat: \{'x': 1, 'y': 2\} values"):
        columns('f.mat', {'x': 1, 'y': [[1], [2]]}, ['x', 'y'])
