from wsol_mm.datasets import DatasetError
from wsol_mm.datasets.readers.matlab_files import columns, read_mat

import pytest


def test_matlab_files(tmp_path, matlab_dir):
    with pytest.raises(FileNotFoundError, match='expected a MATLAB file, got nothing at'):
        read_mat(tmp_path / 'a.mat')
    (tmp_path / 'a.mat').write_text('text')
    with pytest.raises(DatasetError, match=r'a.mat: expected a MATLAB file of version 5, got another'):
        read_mat(tmp_path / 'a.mat')
    content = (matlab_dir / 'cars_annos.mat').read_bytes()
    (tmp_path / 'a.mat').write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetError, match=r'a.mat: '):
        read_mat(tmp_path / 'a.mat')
    with pytest.raises(DatasetError, match=r"f.mat: expected y, got \['x'\]"):
        columns('f.mat', {'x': [1]}, ['x', 'y'])
    with pytest.raises(DatasetError, match=r"f.mat: expected as many values of each, got \{'x': 1, 'y': 2\}"):
        columns('f.mat', {'x': 1, 'y': [[1], [2]]}, ['x', 'y'])
