from wsol_mm.apis.pipeline_images import list_images, spread_indices

import pytest


def test_indices_are_spread_over_the_data():
    assert spread_indices(100, 3) == [0, 50, 99]
    assert spread_indices(3, 10) == [0, 1, 2]
    assert spread_indices(9, 1) == [0]


def test_files_and_folders(tmp_path):
    for name in ('b.JPG', 'a.png', 'sub/c.webp', 'notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list_images([str(tmp_path / 'notes.txt'), str(tmp_path)])
    # A file is taken as it is given.
    assert [path.rpartition('/')[2] for path in found] == ['notes.txt', 'a.png', 'b.JPG', 'c.webp']
    with pytest.raises(FileNotFoundError, match='nowhere'):
        list_images([str(tmp_path / 'nowhere')])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match="no image in the folder '.*empty'; accepted are .jpg, .jpeg"):
        list_images([str(tmp_path / 'empty')])
