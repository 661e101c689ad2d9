"""CUB in its original layout."""

from wsol_mm.datasets import CUB, DatasetError
from wsol_mm.registry import DATASETS

import numpy as np
import pytest


def test_train_and_test_split(cub_root):
    train = DATASETS.build(dict(type='CUB', data_root=str(cub_root), split='train'))
    test = CUB(str(cub_root), split='test', test_mode=True)
    assert (len(train), len(test)) == (6, 3)
    assert train.metainfo['classes'] == ('001.Auk', '002.Bee_eater', '003.Crow')
    assert [train.get_data_info(i)['gt_label'] for i in range(6)] == [0, 0, 1, 1, 2, 2]
    assert 'gt_bboxes' not in train.get_data_info(0)
    info = test.get_data_info(1)
    assert info['img_id'] == '002.Bee_eater/Bee_eater_0003.jpg'
    assert info['img_path'] == str(cub_root / 'images' / info['img_id'])
    assert info['gt_label'] == 1 and type(info['gt_label']) is int
    assert (info['width'], info['height'], info['sample_idx']) == (40, 30, 1)
    assert info['gt_bboxes'].dtype == np.float64
    np.testing.assert_array_equal(info['gt_bboxes'], [[2, 3.5, 22, 13.75]])


def test_boxes_of_training_images_on_request(cub_root):
    info = CUB(str(cub_root), split='train', with_boxes=True).get_data_info(0)
    np.testing.assert_array_equal(info['gt_bboxes'], [[1, 1.5, 21, 11.75]])
    assert 'gt_bboxes' not in CUB(str(cub_root), split='test', with_boxes=False).get_data_info(0)


def test_boxes_that_overrun_are_cut(cub_root, edit_lines):
    edit_lines(
        cub_root / 'bounding_boxes.txt', lambda line: '13 -3 2 60 40' if line.startswith('13 ') else line
    )
    dataset = CUB(str(cub_root), split='test')
    np.testing.assert_array_equal(dataset.get_data_info(0)['gt_bboxes'], [[0, 2, 40, 30]])
    with pytest.raises(
        DatasetError,
        match=r'box outside the image \(1\): .*40x30.*by at most 1 pixel, got .*overruns by 17.*clip_boxes',
    ):
        CUB(str(cub_root), split='test', clip_boxes=False)


def test_without_class_list(cub_root):
    (cub_root / 'classes.txt').unlink()
    assert CUB(str(cub_root)).metainfo['classes'] == ('001.Auk', '002.Bee_eater', '003.Crow')


def test_byte_order_mark_and_blanks_in_names(cub_root, edit_lines, write_image):
    path = cub_root / 'images.txt'
    (cub_root / 'images/001.Auk/Auk_0001.jpg').rename(cub_root / 'images/001.Auk/Auk 0001.jpg')
    path.write_text('\ufeff' + path.read_text().replace('Auk_0001', 'Auk 0001'), encoding='utf-8')
    assert CUB(str(cub_root)).get_data_info(0)['img_id'] == '001.Auk/Auk 0001.jpg'


@pytest.mark.parametrize(
    ('file', 'old', 'new', 'kind', 'message'),
    [
        (
            'images.txt',
            '11 001.Auk/Auk_0001.jpg',
            '11',
            'line that does not parse',
            r"line 1: expected <id> <path>, got '11' \(expected 2 fields, got 1\)",
        ),
        ('images.txt', 'Auk_0001', 'Auk_9', 'missing image', r'images/001.Auk/Auk_9\.jpg'),
        (
            'images.txt',
            '12 001.Auk/Auk_0002.jpg',
            '11 x.jpg',
            'repeated entry',
            "line 2: expected '11' once, got it",
        ),
        (
            'image_class_labels.txt',
            '11 1',
            '11 one',
            'line that does not parse',
            "line 9: .*from 1>, got '11 one'",
        ),
        ('image_class_labels.txt', '11 1', '11 1 1', 'line that does not parse', 'expected 2 fields, got 3'),
        (
            'image_class_labels.txt',
            '11 1',
            '11 4',
            'label out of range',
            'Auk_0001.jpg: expected a label from 0 to 2, got 3',
        ),
        (
            'image_class_labels.txt',
            '11 1',
            '11 0',
            'label out of range',
            'Auk_0001.jpg: expected a label from 0 to 2, got -1',
        ),
        (
            'train_test_split.txt',
            '11 1',
            '11 2',
            'line that does not parse',
            r"expected <id> <1 or 0>, got '11 2' \(expected 0 or 1, got '2'\)",
        ),
        (
            'bounding_boxes.txt',
            '13 1.0 3.5 20.0',
            '13 1.0 3.5',
            'line that does not parse',
            'expected 5 fields, got 4',
        ),
        ('bounding_boxes.txt', '13 1.0', '13 nan', 'line that does not parse', 'finite numbers, got nan'),
        (
            'bounding_boxes.txt',
            '13 1.0 3.5 20.0',
            '13 1 3 0',
            'degenerate box',
            r'Auk_0003.jpg: expected .*x0 < x1.* got \[1, 3, 1',
        ),
        (
            'bounding_boxes.txt',
            '13 1.0',
            '13 50',
            'box outside the image',
            r'40x30 .*: .*overlaps it, got \[50, ',
        ),
        (
            'bounding_boxes.txt',
            '13 ',
            '99 ',
            'image without entry',
            'bounding_boxes.txt: expected id 13 .*, got none',
        ),
    ],
)
def test_what_is_wrong_is_named_or_skipped(cub_root, file, old, new, kind, message):
    path = cub_root / file
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new, 1))
    split = 'test' if 'boxes' in file else 'train'
    with pytest.raises(
        DatasetError, match=rf'CUB \(.*\): .*problem.*(?s:.)*{kind} \(\d\): .*{message}'
    ) as caught:
        CUB(str(cub_root), split=split)
    assert "on_error='skip'" in str(caught.value)
    dataset = CUB(str(cub_root), split=split, on_error='skip', test_mode=True)
    assert dataset.skipped[kind] == 1
    assert len(dataset) == (2 if split == 'test' else 5)
    assert 'Skipped' in repr(dataset)


def test_skipping_writes_one_line(cub_root, edit_lines, caplog, monkeypatch):
    lines = []
    monkeypatch.setattr(
        'wsol_mm.datasets.dataset_problems.print_log', lambda text, **kwargs: lines.append(text)
    )
    edit_lines(cub_root / 'images.txt', lambda line: line.replace('_000', '_1'))
    edit_lines(cub_root / 'images.txt', lambda line: line.replace('Crow_1', 'Crow_000'))
    with pytest.raises(DatasetError, match=r'missing image \(4\).*class without images|missing image \(4\)'):
        CUB(str(cub_root))
    assert not lines
    dataset = CUB(str(cub_root), on_error='skip')
    assert len(dataset) == 2
    assert dataset.skipped == {'missing image': 4, 'class without images': 2}
    assert len(lines) == 1 and 'missing image (4)' in lines[0] and 'Auk_11.jpg' in lines[0]


def test_only_the_first_few_problems_are_named(cub_root, edit_lines):
    edit_lines(cub_root / 'images.txt', lambda line: line.replace('_000', '_1'))
    with pytest.raises(DatasetError, match=r'missing image \(6\): .*; \.\.\. and 1 more'):
        CUB(str(cub_root))


def test_class_numbers_must_be_complete(cub_root):
    (cub_root / 'classes.txt').write_text('1 a\n2 b\n4 c\n')
    with pytest.raises(DatasetError, match=r"classes.txt: expected class numbers from 1 to 3, .*got \['4'\]"):
        CUB(str(cub_root))


def test_empty_class(cub_root, edit_lines):
    (cub_root / 'classes.txt').write_text('1 a\n2 b\n3 c\n4 d\n')
    with pytest.raises(
        DatasetError, match=r'class without images \(1\): d: expected at least one.*`classes`'
    ):
        CUB(str(cub_root))
    assert len(CUB(str(cub_root), classes=['a', 'b', 'c'])) == 6
    assert len(CUB(str(cub_root), split='test', test_mode=True)) == 3  # a test set may lack classes


def test_wrong_place_and_arguments(cub_root, tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r'expected the layout of CUB.*`list_dir`.* got no file .*nowhere/images.txt and no lists',
    ):
        CUB(str(tmp_path / 'nowhere'))
    (cub_root / 'train_test_split.txt').unlink()
    with pytest.raises(FileNotFoundError, match='train_test_split.txt'):
        CUB(str(cub_root))
    with pytest.raises(ValueError, match="split: expected 'train' or 'test', got 'val'"):
        CUB(str(cub_root), split='val')


@pytest.mark.parametrize('kept', [0, 1, 5])
@pytest.mark.parametrize(
    'name', ['images.txt', 'image_class_labels.txt', 'train_test_split.txt', 'bounding_boxes.txt']
)
def test_lists_of_different_lengths(cub_root, name, kept):
    """Cut off anywhere, between two lines: never a test on what is left; both counts are named."""
    path = cub_root / name
    path.write_text('\n'.join(path.read_text().splitlines()[:kept]))
    counts = f'images.txt: expected the 9 images of .*got {kept}'
    if name != 'images.txt':
        counts = rf'{name}.*: expected id .*, got none: entries of .*\b{kept} of 9.* images'
    elif kept == 0:
        counts = 'got 0: '
    with pytest.raises(DatasetError, match=counts) as caught:
        CUB(str(cub_root), split='test', test_mode=True)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('path', ['../outside.jpg', 'a/../../outside.jpg', '/{root}/outside.jpg', '..'])
def test_images_outside_the_folder(cub_root, edit_lines, write_image, path):
    write_image(cub_root / 'outside.jpg')
    path = path.format(root=cub_root)
    first = (cub_root / 'images.txt').read_text().split()[1]
    edit_lines(cub_root / 'images.txt', lambda line: line.replace(first, path))
    message = r'path outside the folder \(1\): .*: expected a path inside the folder of the images, got one'
    with pytest.raises(DatasetError, match=message):
        CUB(str(cub_root))
    if path == '../outside.jpg':  # asked for
        assert CUB(str(cub_root), allow_outside=True).get_data_info(0)['img_id'] == path


def test_two_dots_that_stay_inside(cub_root, edit_lines):
    first = (cub_root / 'images.txt').read_text().split()[1]
    folder, _, name = first.partition('/')
    for inside in (f'{folder}/../{first}', f'{folder}/./{name}'):
        edit_lines(cub_root / 'images.txt', lambda line, i=inside: line.replace(first, i))
        assert len(CUB(str(cub_root))) == 6
        edit_lines(cub_root / 'images.txt', lambda line, i=inside: line.replace(i, first))


def test_nothing_left(cub_root, edit_lines):
    edit_lines(cub_root / 'images.txt', lambda line: line.replace('.jpg', '.jpeg'))
    with pytest.raises(
        DatasetError, match=r"expected .* usable image, got none; skipped: \{'missing image': 6"
    ):
        CUB(str(cub_root), on_error='skip')


def test_a_list_that_is_no_text(cub_root):
    (cub_root / 'images.txt').write_bytes(b'1 \xff\xfe.jpg\n')
    with pytest.raises(
        DatasetError, match='images.txt: expected a UTF-8 text file, got bytes that do not decode'
    ):
        CUB(str(cub_root))


def test_real_photographs(shared_dir):
    root = shared_dir / 'data/cub40'
    train = CUB(str(root))
    test = CUB(str(root), split='test', test_mode=True)
    assert (len(train), len(test), len(test.metainfo['classes'])) == (1200, 1090, 40)
    raw = dict(line.split(maxsplit=1) for line in (root / 'bounding_boxes.txt').read_text().splitlines())
    ids = {
        path: key for key, path in (line.split() for line in (root / 'images.txt').read_text().splitlines())
    }
    overrun = 0
    for index in range(len(test)):
        info = test.get_data_info(index)
        x, y, w, h = (float(value) for value in raw[ids[info['img_id']]].split())
        expected = [max(x, 0), max(y, 0), min(x + w, info['width']), min(y + h, info['height'])]
        np.testing.assert_array_equal(info['gt_bboxes'], [expected])
        overrun += x + w > info['width'] + 1 or y + h > info['height'] + 1
    for index in range(len(train)):
        info = train.get_data_info(index)
        assert info['img_id'].startswith(f'{info["gt_label"] + 1:03d}.')
    both = CUB(str(root), split='train', with_boxes=True)
    for index in range(len(both)):
        info = both.get_data_info(index)
        x, y, w, h = (float(value) for value in raw[ids[info['img_id']]].split())
        overrun += x + w > info['width'] + 1 or y + h > info['height'] + 1
    assert overrun == 3
