"""The list files of SAT: CUB, Stanford Dogs, Stanford Cars, FGVC Aircraft, ILSVRC, OpenImages."""

import wsol_mm  # noqa: F401
from wsol_mm.datasets import CUB, ILSVRC, DatasetError, FGVCAircraft, StanfordCars, StanfordDogs
from wsol_mm.datasets.readers.sat_lists import (
    find_list_dir,
    parse_boxes_and_size,
    parse_indexed_path,
    slashes,
)

import numpy as np
import pytest

FOLDERS = ['n02085620-Chihuahua', 'n02116738-African_hunting_dog']


def write_crlf(path, lines):
    path.write_bytes('\r\n'.join(lines).encode())


@pytest.fixture
def folders_root(tmp_path, write_image):
    """Two classes of one training and two test images of 40x30 pixels, with the lists of SAT."""
    lists, boxes = [], []
    for label, folder in enumerate(FOLDERS):
        write_image(tmp_path / 'train' / folder / 'a.jpg', seed=label)
        for number in range(2):
            write_image(tmp_path / 'test' / folder / f'{number}.jpg', seed=10 * label + number)
            lists.append(f'{folder}/{number}.jpg;{label}')
            more = ' 0 0 40 30' if number else ''
            boxes.append(f'{label + 1}.0 {number}.5 20 10{more} 30 40')
    write_crlf(tmp_path / 'test_list.txt', lists)
    write_crlf(tmp_path / 'test_gt.txt', boxes)
    return tmp_path


def items(dataset):
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def test_parsing():
    assert parse_indexed_path('a b\\c;d.jpg;12') == ('a b/c;d.jpg', 12)
    assert parse_indexed_path('x/y.jpg , 3', ',') == ('x/y.jpg', 3)
    boxes, size = parse_boxes_and_size('1 2.5 3 4 5 6 7 8 30.0 40')
    np.testing.assert_array_equal(boxes, [[1, 2.5, 3, 4], [5, 6, 7, 8]])
    assert boxes.dtype == np.float64 and size == (40, 30)
    assert slashes('a\\\\b\\c/d') == 'a/b/c/d' and slashes('/a//b') == '/a//b'


def test_folder_of_the_lists(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', '/home/somebody')
    assert find_list_dir(tmp_path, None, ['a.txt', 'b.txt']) is None
    assert find_list_dir(tmp_path, 'lists', ['a.txt']) == tmp_path / 'lists'
    assert str(find_list_dir(tmp_path, '~/lists', ['a.txt'])) == '/home/somebody/lists'
    (tmp_path / 'b.txt').touch()
    assert find_list_dir(tmp_path, None, ['a.txt', 'b.txt']) == find_list_dir(tmp_path, '', []) == tmp_path
    assert find_list_dir(tmp_path, None, []) is None


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('1 2 3 4 5', 'expected 4 numbers per box and 2, got 5'),
        ('30 40', 'expected 4 numbers per box and 2, got 2'),
        ('1 2 3 4 0 40', 'expected integers from 1 for height and width, got 0, 40'),
        ('1 2 3 4 30.5 40', 'expected integers from 1 for height and width, got 30.5'),
        ('1 2 3 x 30 40', 'could not convert'),
        ('1 2 3 nan 30 40', 'expected finite numbers, got .*nan'),
    ],
)
def test_lines_that_are_no_boxes(text, message):
    with pytest.raises(ValueError, match=message):
        parse_boxes_and_size(text)


@pytest.mark.parametrize('text', ['a.jpg', ';3', 'a.jpg;x'])
def test_lines_that_are_no_paths(text):
    with pytest.raises(
        ValueError, match="expected ';' between path and class, got none|invalid literal for int"
    ):
        parse_indexed_path(text)


# ---------------------------------------------------------------------- lists with class folders


@pytest.mark.parametrize('kind', [StanfordDogs, CUB])
def test_folder_lists(folders_root, kind):
    dataset = kind(str(folders_root), split='test', test_mode=True)
    found = items(dataset)
    assert [info['img_id'] for info in found] == [f'{name}/{i}.jpg' for name in FOLDERS for i in range(2)]
    assert [info['gt_label'] for info in found] == [0, 0, 1, 1]
    assert found[0]['img_path'] == f'{folders_root}/test/{FOLDERS[0]}/0.jpg'
    np.testing.assert_array_equal(found[0]['gt_bboxes'], [[1, 0.5, 20, 10]])
    np.testing.assert_array_equal(found[3]['gt_bboxes'], [[2, 1.5, 20, 10], [0, 0, 40, 30]])
    assert (found[0]['width'], found[0]['height']) == (40, 30)
    assert dataset.metainfo['classes'] == tuple(FOLDERS)
    train = kind(str(folders_root))
    assert [info['img_id'] for info in items(train)] == [f'{name}/a.jpg' for name in FOLDERS]
    assert 'gt_bboxes' not in train.get_data_info(0) and train.metainfo['classes'] == tuple(FOLDERS)


def test_training_list_and_other_places(folders_root):
    lists = folders_root / 'lists'
    lists.mkdir()
    for name in ('test_list.txt', 'test_gt.txt'):
        (folders_root / name).rename(lists / name)
    (lists / 'test_gt.txt').rename(lists / 'test_bounding_box.txt')
    write_crlf(lists / 'train_list.txt', [f'{name}\\a.jpg;{label}' for label, name in enumerate(FOLDERS)])
    assert [info['img_id'] for info in items(StanfordDogs(str(folders_root), list_dir='lists'))] == [
        f'{name}/a.jpg' for name in FOLDERS
    ]
    (folders_root / 'test').rename(folders_root / 'Images')
    for where in ('lists', str(lists)):
        dataset = StanfordDogs(
            str(folders_root), split='test', list_dir=where, data_prefix='Images', test_mode=True
        )
        assert len(dataset) == 4 and dataset.get_data_info(0)['gt_bboxes'].shape == (1, 4)


def test_errors_of_folder_lists(folders_root):
    boxes, images = folders_root / 'test_gt.txt', folders_root / 'test_list.txt'
    lines = boxes.read_text().splitlines()

    def expect(message, kind=DatasetError, **options):
        with pytest.raises(kind, match=message):
            StanfordDogs(str(folders_root), **{'split': 'test', **options})

    write_crlf(boxes, [lines[0], '1 2 3 4 30', *lines[2:]])
    expect(
        r'test_gt.txt, line 2: expected <x0> <y0> <x1> <y1>.*<height> <width>, got .1 2 3 4 30. \(.*, got 5'
    )
    skipping = StanfordDogs(str(folders_root), split='test', on_error='skip')
    assert len(skipping) == 3 and skipping.skipped == {'line that does not parse': 1}
    write_crlf(boxes, lines[:3])
    expect(r'test_gt.txt: expected 4 lines, in the order of .*test_list.txt, got 3')
    write_crlf(boxes, ['1 2 3 4 40 30', *lines[1:]])
    expect('size that differs from the list.*expected 30x40 .*, got 40x30')
    write_crlf(boxes, lines)
    names = images.read_text().splitlines()
    write_crlf(images, [*names[:2], names[2].replace(';1', ';0'), names[3]])
    expect(rf"wrong label.*, line 3: expected '{FOLDERS[0]}' for class 0.*, got '{FOLDERS[1]}'")
    write_crlf(images, [names[0], names[0], *names[2:]])
    expect(r'repeated entry.*test_list.txt, line 2')
    write_crlf(images, [names[0].replace(';', ','), *names[1:]])
    expect(r"test_list.txt, line 1: expected <class folder>/<file>;<class, an integer from 0>.*expected ';'")
    write_crlf(images, names)
    boxes.unlink()
    expect('expected test_gt.txt or test_bounding_box.txt, got neither in', FileNotFoundError)
    images.unlink()
    expect('expected test_list.txt.* got no test_list.mat and no lists', FileNotFoundError)
    expect("split: expected 'train' or 'test', got 'val'", ValueError, split='val')
    with pytest.raises(
        FileNotFoundError, match='expected a list file or a folder .*, got nothing at .*nothing'
    ):
        StanfordDogs(str(folders_root), list_dir='', data_prefix='nothing')


# ---------------------------------------------------------------------- lists with one table


@pytest.fixture
def table_root(tmp_path, write_image):
    """Two classes, not sorted, and six images of 40x30 pixels, two of each split."""
    write_crlf(tmp_path / 'classes.txt', ['Ram C/V 2012', 'Acura RL 2012'])
    lines = []
    for number in range(6):
        write_image(tmp_path / 'images' / f'{number:04d}.jpg', seed=number)
        name = ('Ram C/V 2012', 'Acura RL 2012')[number % 2]
        lines.append(f'{number:04d};{name};{number // 2};{number} 2 30 25 30 40')
    write_crlf(tmp_path / 'images_box.txt', lines)
    return tmp_path


@pytest.mark.parametrize(
    ('kind', 'split', 'numbers'),
    [
        (StanfordCars, 'train', [0, 1]),
        (StanfordCars, 'test', [2, 3]),
        (FGVCAircraft, 'trainval', [0, 1, 4, 5]),
        (FGVCAircraft, 'train', [0, 1]),
        (FGVCAircraft, 'val', [4, 5]),
        (FGVCAircraft, 'test', [2, 3]),
    ],
)
def test_tables(table_root, kind, split, numbers):
    dataset = kind(str(table_root), split=split)
    found = items(dataset)
    assert [info['img_id'] for info in found] == [f'{number:04d}.jpg' for number in numbers]
    assert found[0]['img_path'] == f'{table_root}/images/{numbers[0]:04d}.jpg'
    assert [info['gt_label'] for info in found] == [number % 2 for number in numbers]
    assert dataset.metainfo['classes'] == ('Ram C/V 2012', 'Acura RL 2012')
    assert ('gt_bboxes' in found[0]) == (split == 'test')
    with_boxes = kind(str(table_root), split=split, with_boxes=True, test_mode=True).get_data_info(0)
    np.testing.assert_array_equal(with_boxes['gt_bboxes'], [[numbers[0], 2, 30, 25]])
    assert (with_boxes['width'], with_boxes['height']) == (40, 30)


@pytest.mark.parametrize('kind', [StanfordCars, FGVCAircraft])
def test_errors_of_tables(table_root, kind):
    table = table_root / 'images_box.txt'
    lines = table.read_text().splitlines()

    def expect(message, error=DatasetError, **options):
        with pytest.raises(error, match=message):
            kind(str(table_root), **{'split': 'test', **options})

    for old, new, message in [
        ('Ram C/V 2012', 'Ram', "expected a class of .*classes.txt, got 'Ram'"),
        (';1;', ';3;', "expected a split of 0, 1 or 2, got '3'"),
        (';1;', ';1,', 'expected 4 fields, got 3'),
        (' 40', '', 'expected 4 numbers per box and 2, got 5'),
    ]:
        write_crlf(table, [*lines[:2], lines[2].replace(old, new), *lines[3:]])
        expect(rf'images_box.txt, line 3: expected <id>;<class name>;<split: 0, 1 or 2>.*{message}')
    write_crlf(table, [*lines, lines[2]])
    expect('repeated entry.*line 7')
    write_crlf(table, lines)
    expect("split: expected 'train'.*, got 'all'", ValueError, split='all')
    (table_root / 'images/0002.jpg').unlink()
    expect('missing image.*0002.jpg')
    write_crlf(table_root / 'classes.txt', ['a', 'a'])
    expect(r"classes.txt: expected every class once, got \['a'\]")
    (table_root / 'classes.txt').unlink()
    expect('expected a list file, got nothing at .*classes.txt', FileNotFoundError, list_dir='')


# ---------------------------------------------------------------------- ILSVRC


def test_boxes_of_ilsvrc_with_sizes(tmp_path, write_image):
    wnids = ['n01440764', 'n02102040']
    for label, wnid in enumerate(wnids):
        write_image(tmp_path / f'val/{wnid}/ILSVRC2012_val_{label:08d}.JPEG', 40, 30, seed=label)
    lines = [
        rf'{wnid}\\ILSVRC2012_val_{label:08d}.JPEG 40 30 7 ; {label} 2 30 25' + ' 0 0 9 9' * label
        for label, wnid in enumerate(wnids)
    ]
    write_crlf(tmp_path / 'val_gt.txt', lines)
    dataset = ILSVRC(str(tmp_path), split='val', box_source='val_gt.txt', test_mode=True)
    found = items(dataset)
    assert [info['gt_label'] for info in found] == [0, 1]
    np.testing.assert_array_equal(found[1]['gt_bboxes'], [[1, 2, 30, 25], [0, 0, 9, 9]])
    assert (found[0]['width'], found[0]['height']) == (40, 30)
    write_crlf(tmp_path / 'val_gt.txt', [lines[0].replace('40 30 7', '40 30'), lines[1]])
    with pytest.raises(
        DatasetError, match=r'val_gt.txt, line 1: .*<width> <height>.*expected 4 fields, got 3'
    ):
        ILSVRC(str(tmp_path), split='val', box_source='val_gt.txt', test_mode=True)
    write_crlf(tmp_path / 'val_gt.txt', [lines[0].replace('40 30', '30 40'), lines[1]])
    with pytest.raises(DatasetError, match='expected 30x40 .*, got 40x30'):
        ILSVRC(str(tmp_path), split='val', box_source='val_gt.txt', test_mode=True)
