"""Image files without a data set: existence, header, decoding."""

import os

from wsol_mm.datasets.checks.image_files import decode_failure, inspect_image, map_threads, missing_files

import pytest
from PIL import Image


def test_missing_files(tmp_path):
    for name in ('a/1.jpg', 'a/2.jpg', 'top.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'a/3.jpg').mkdir()
    asked = ['a/2.jpg', 'b/1.jpg', 'a/3.jpg', 'top.jpg', 'a/4.jpg', 'top.jpg/x.jpg']
    assert missing_files(tmp_path, asked) == ['b/1.jpg', 'a/3.jpg', 'a/4.jpg', 'top.jpg/x.jpg']


def test_missing_files_lists_each_folder_once(tmp_path, monkeypatch):
    for folder in 'ab':
        (tmp_path / folder).mkdir()
        for number in range(5):
            (tmp_path / folder / f'{number}.jpg').touch()
    calls = []
    scandir = os.scandir
    monkeypatch.setattr(os, 'scandir', lambda path: calls.append(path) or scandir(path))
    assert missing_files(tmp_path, [f'{folder}/{number}.jpg' for number in range(5) for folder in 'ab']) == []
    assert len(calls) == 2


def test_inspection_and_decoding(tmp_path, write_image, truncate):
    path = write_image(tmp_path / 'a.jpg', width=50, height=20)
    assert inspect_image(path) == inspect_image(path, apply_exif=True) == (50, 20)
    assert decode_failure(path) is None
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new('RGB', (50, 20)).save(tmp_path / 'b.jpg', exif=exif)
    assert inspect_image(tmp_path / 'b.jpg', apply_exif=True) == (20, 50)
    assert inspect_image(tmp_path / 'b.jpg') == (50, 20)
    assert decode_failure(tmp_path / 'none.jpg').startswith('FileNotFoundError')
    with pytest.raises(FileNotFoundError):
        inspect_image(tmp_path / 'none.jpg')
    path.write_bytes(path.read_bytes() + b'more')  # after its end, a JPEG file may go on
    assert inspect_image(path) == (50, 20)


@pytest.mark.parametrize('extension', ['jpg', 'png', 'bmp', 'webp', 'tif', 'ppm'])
def test_truncated_files_are_found(tmp_path, write_image, truncate, extension):
    path = write_image(tmp_path / f'a.{extension}', width=50, height=20)
    assert inspect_image(path) == (50, 20)
    truncate(path)
    with pytest.raises((OSError, ValueError)):
        inspect_image(path)
    assert decode_failure(path)


def test_images_that_end_well_are_not_decoded(tmp_path, write_image):
    path = write_image(tmp_path / 'a.png', width=50, height=20)
    content = bytearray(path.read_bytes())
    content[60:160] = bytes(100)
    path.write_bytes(content)
    assert inspect_image(path) == (50, 20)
    assert decode_failure(path)


def test_map_threads():
    assert map_threads(len, ['a', 'bb', 'ccc'], threads=2) == [1, 2, 3]
    assert map_threads(len, []) == []
