"""The readers and checks under the data sets, alone."""

from wsol_mm.datasets.boxes import check_boxes
from wsol_mm.datasets.dataset_problems import DatasetError, DatasetProblems
from wsol_mm.datasets.image_files import (
    decode_failure,
    inspect_image,
    list_images,
    map_threads,
    missing_files,
)
from wsol_mm.datasets.list_files import finite_floats, read_lines, split_fields

import numpy as np
import pytest
from PIL import Image


def test_problems_are_counted_and_named():
    problems = DatasetProblems('Birds (data)')
    problems.stop_if_strict()
    for number in range(7):
        problems.add('missing image', f'{number}.jpg')
    problems.add('degenerate box', 'x')
    assert len(problems) == 8 and problems.counts == {'missing image': 7, 'degenerate box': 1}
    with pytest.raises(DatasetError) as caught:
        problems.stop_if_strict()
    text = str(caught.value)
    assert text.startswith('Birds (data): 8 problem(s) found.')
    assert 'missing image (7): 0.jpg; 1.jpg; 2.jpg; 3.jpg; 4.jpg; ... and 2 more' in text
    problems.on_error = 'skip'
    problems.stop_if_strict()


def test_read_lines(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_bytes('\ufeffone\r\n\r\n  two words \nlast'.encode())
    assert list(read_lines(path)) == [(1, 'one'), (3, 'two words'), (4, 'last')]
    with pytest.raises(FileNotFoundError, match='no list file .*none.txt'):
        list(read_lines(tmp_path / 'none.txt'))


def test_fields():
    assert split_fields('a, b ,c', 3, ',') == ['a', 'b', 'c']
    with pytest.raises(ValueError, match='2 fields instead of 3'):
        split_fields('a b', 3)
    assert finite_floats(['1', '-2.5e1']) == [1.0, -25.0]
    for bad in ('nan', 'inf', '-inf'):
        with pytest.raises(ValueError, match='not finite'):
            finite_floats(['1', bad])


def test_missing_files(tmp_path):
    for name in ('a/1.jpg', 'a/2.jpg', 'top.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'a/3.jpg').mkdir()
    asked = ['a/2.jpg', 'b/1.jpg', 'a/3.jpg', 'top.jpg', 'a/4.jpg', 'top.jpg/x.jpg']
    assert missing_files(tmp_path, asked) == ['b/1.jpg', 'a/3.jpg', 'a/4.jpg', 'top.jpg/x.jpg']


def test_missing_files_lists_each_folder_once(tmp_path, monkeypatch):
    import wsol_mm.datasets.image_files as module

    for folder in 'ab':
        (tmp_path / folder).mkdir()
        for number in range(5):
            (tmp_path / folder / f'{number}.jpg').touch()
    calls = []
    scandir = module.os.scandir
    monkeypatch.setattr(module.os, 'scandir', lambda path: calls.append(path) or scandir(path))
    assert missing_files(tmp_path, [f'{folder}/{number}.jpg' for number in range(5) for folder in 'ab']) == []
    assert len(calls) == 2


def test_list_images(tmp_path):
    for name in ('b.JPG', 'a/z.png', 'a/.hidden.png', '.dir/x.png', 'a/readme.md', 'a/deep/y.tiff'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == (['a/deep/y.tiff', 'a/z.png', 'b.JPG'], 1)
    assert list_images(tmp_path, recursive=False) == (['b.JPG'], 0)


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


@pytest.mark.parametrize(
    ('box', 'kind', 'clipped'),
    [
        ([1, 2, 3, 4], None, [1, 2, 3, 4]),
        ([-1, 0, 41, 31], None, [0, 0, 40, 30]),  # overruns by a pixel: rounding
        ([-1.5, 0, 40, 30], 'box outside the image', [0, 0, 40, 30]),
        ([0, 0, 40, 32], 'box outside the image', [0, 0, 40, 30]),
        ([40, 0, 45, 5], 'box outside the image', None),
        ([-5, 0, 0, 5], 'box outside the image', None),
        ([5, 5, 5, 9], 'degenerate box', None),
        ([5, 9, 9, 5], 'degenerate box', None),
    ],
)
def test_check_boxes(box, kind, clipped):
    boxes = np.array([box, [0, 0, 1, 1]], dtype=np.float64)
    problems = DatasetProblems('x')
    good, cut = check_boxes(boxes, (40, 30), 'a.jpg', problems)
    assert problems.counts == ({kind: 1} if kind else {})
    assert cut == 0 and good.tolist() == ([] if kind else [box]) + [[0, 0, 1, 1]]
    problems = DatasetProblems('x')
    good, cut = check_boxes(boxes, (40, 30), 'a.jpg', problems, clip=True)
    assert good.tolist() == ([clipped] if clipped else []) + [[0, 0, 1, 1]]
    assert cut == (clipped is not None and clipped != box)
    assert bool(problems.counts) == (clipped is None)
    good, _ = check_boxes(boxes, None, 'a.jpg', DatasetProblems('x'))
    assert len(good) == (1 if kind == 'degenerate box' else 2)


def test_check_boxes_of_none():
    good, cut = check_boxes(np.zeros((0, 4)), (40, 30), 'a.jpg', DatasetProblems('x'))
    assert good.shape == (0, 4) and cut == 0
