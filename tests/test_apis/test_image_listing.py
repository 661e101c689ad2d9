"""Walking a folder of images."""

import os
from collections import Counter

from wsol_mm.apis import image_listing
from wsol_mm.apis.image_listing import ListedImage, images_at, walk_images
from wsol_mm.apis.image_sources import image_source
from wsol_mm.datasets.readers.image_files import distinct_stems, list_images

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


def test_stems_of_mixed_paths():
    assert distinct_stems(
        ['a/1.jpg', 'b/1.jpg', '1.JPG', '1.png', 'photo', 'a.b/photo', 'array', 'array']
    ) == [*('a/1', 'b/1', '1.JPG', '1.png', 'photo', 'a.b/photo', 'array', 'array')]


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
    with pytest.raises(
        FileNotFoundError, match='nothing: expected an image file or a folder with images, got nothing there'
    ):
        images_at(tmp_path / 'nothing')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='empty: expected a folder with images .*.jpg, .jpeg, .*got none'):
        images_at(tmp_path / 'empty')


def test_no_folder(tmp_path):
    for look in (lambda path: image_source(path).check(), lambda path: list(walk_images(path))):
        with pytest.raises(NotADirectoryError, match='nothing: expected a folder with .*got nothing there'):
            look(tmp_path / 'nothing')


def test_an_image_file_stands_for_itself(tmp_path):
    make(tmp_path, 'a/1.jpg', 'a/2.jpg', 'a/photo')
    image_source(tmp_path / 'a' / '1.jpg').check()
    assert list(walk_images(tmp_path / 'a' / '1.jpg')) == [ListedImage('1.jpg', '1')]
    assert list(walk_images(tmp_path / 'a' / 'photo')) == [ListedImage('photo', 'photo')]


def test_other_files_are_counted_by_suffix(tmp_path, monkeypatch):
    make(
        tmp_path, '1.jpg', '2.gif', 'a/3.GIF', 'a/4.PNG', 'a/list.txt', 'a/README', '.hidden.gif', '.b/5.gif'
    )
    skipped = Counter()
    assert len(list(walk_images(tmp_path, skipped))) == 2
    assert skipped == {'.gif': 2, '.txt': 1, '': 1}
    logged = []
    monkeypatch.setattr(image_listing, 'print_log', lambda text, _: logged.append(text))
    assert len(images_at(tmp_path)) == 2
    (text,) = logged
    assert text.startswith(f'{tmp_path}: 4 file(s) are no images (.jpg .jpeg .png ')
    assert text.endswith('): 2 .gif, 1 without suffix, 1 .txt')
    (tmp_path / 'a' / '4.PNG').unlink()
    for look in (lambda path: image_source(path).check(), images_at):
        with pytest.raises(
            ValueError, match='/a: expected .*.jpg, .*, got only 1 without suffix, 1 .gif, 1 .txt'
        ):
            look(tmp_path / 'a')
    assert len(logged) == 1
