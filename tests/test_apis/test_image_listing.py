"""Walking a folder of images."""

import os

from wsol_mm.apis.image_listing import images_at, walk_images
from wsol_mm.datasets.image_files import list_images

import pytest


def make(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def test_order_is_that_of_sorted_paths(tmp_path):
    paths = ['a/1.jpg', 'a-b/1.jpg', 'a.jpg', 'a/b/2.png', 'a/b.png', 'B.JPG', 'ä/1.jpg', 'a b/1.jpg']
    make(tmp_path, *paths, 'a/note.txt', '.hidden/1.jpg', 'a/.2.jpg')
    found = [image.path for image in walk_images(tmp_path)]
    assert found == sorted(paths) == list_images(tmp_path)[0]


def test_every_image_has_a_name_of_its_own(tmp_path):
    make(
        tmp_path, 'x/1.jpg', 'x/1.png', 'x/2.jpg', 'x/3.jpg', 'x/3.jpg.png', 'x/4.jpg', 'x/4.JPEG', 'y/1.jpg'
    )
    names = {image.path: image.name for image in walk_images(tmp_path)}
    assert names == {
        'x/1.jpg': 'x/1.jpg',  # or the annotations of 1.jpg and 1.png would be one file
        'x/1.png': 'x/1.png',
        'x/2.jpg': 'x/2',
        'x/3.jpg': 'x/3',
        'x/3.jpg.png': 'x/3.jpg.png',  # its stem is the name of another image
        'x/4.JPEG': 'x/4.JPEG',
        'x/4.jpg': 'x/4.jpg',
        'y/1.jpg': 'y/1',
    }
    assert len(set(names.values())) == len(names)


def test_links_are_followed_unless_they_lead_back(tmp_path):
    make(tmp_path, 'a/1.jpg', 'elsewhere/2.jpg')
    (tmp_path / 'a' / 'back').symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / 'a' / 'other').symlink_to(tmp_path / 'elsewhere', target_is_directory=True)
    assert [image.path for image in walk_images(tmp_path)] == ['a/1.jpg', 'a/other/2.jpg', 'elsewhere/2.jpg']


def test_what_is_no_image_file(tmp_path):
    make(tmp_path, 'a/1.jpg', 'folder.jpg/2.png')
    (tmp_path / 'itself').symlink_to('itself')
    (tmp_path / 'itself.jpg').symlink_to('itself.jpg')
    (tmp_path / 'gone.jpg').symlink_to('nowhere.jpg')
    os.mkfifo(tmp_path / 'pipe.jpg')  # opening it would wait for ever
    paths = ['a/1.jpg', 'folder.jpg/2.png', 'gone.jpg', 'itself.jpg']
    assert [image.path for image in walk_images(tmp_path)] == paths


def test_what_a_path_means(tmp_path):
    make(tmp_path, 'a/1.jpg', 'notes.txt')
    assert images_at(tmp_path) == [(str(tmp_path / 'a' / '1.jpg'), 'a/1.jpg')]
    # A file is taken as it is given.
    assert images_at(tmp_path / 'notes.txt') == [(str(tmp_path / 'notes.txt'), 'notes.txt')]
    with pytest.raises(FileNotFoundError, match="no image file or folder at '.*nothing'"):
        images_at(tmp_path / 'nothing')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match="no image in the folder '.*empty'; accepted are .jpg, .jpeg"):
        images_at(tmp_path / 'empty')


def test_no_folder(tmp_path):
    with pytest.raises(NotADirectoryError, match='no folder at .*nothing'):
        list(walk_images(tmp_path / 'nothing'))
