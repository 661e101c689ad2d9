"""ILSVRC with its three sources of boxes, in class folders and flat."""

from wsol_mm.datasets import ILSVRC, DatasetError

import numpy as np
import pytest

WNIDS = ['n01440764', 'n02102040', 'n03000684']
# one box; two boxes; a box up to the last pixel (39, 29) of the 40x30 image
BOXES = {1: [[1, 2, 21, 12]], 2: [[0, 0, 10, 10], [5, 6, 30, 28]], 3: [[3, 4, 39, 29]]}


def name(number):
    return f'ILSVRC2012_val_{number:08d}'


@pytest.fixture
def root(tmp_path, write_image):
    """Three classes; one validation image each, the third class first by file name."""
    for label, wnid in enumerate(WNIDS):
        for number in (7, 8):
            write_image(
                tmp_path / f'train/{wnid}/{wnid}_{number}.JPEG', format='JPEG', seed=label * 9 + number
            )
    for number, wnid in zip((1, 2, 3), (WNIDS[2], WNIDS[0], WNIDS[1]), strict=True):
        write_image(tmp_path / f'val/{wnid}/{name(number)}.JPEG', format='JPEG', seed=number)
    return tmp_path


LABELS = {1: 2, 2: 0, 3: 1}


def write_list(root):
    lines = []
    for number, label in LABELS.items():
        numbers = ' '.join(str(value) for box in BOXES[number] for value in box)
        lines.append(f'{WNIDS[label]}/{name(number)}.JPEG {label} {numbers}')
    lines.append(f'n09999999/{name(4)}.JPEG 3 0 0 5 5')  # of a class that is not there
    (root / 'lists').mkdir()
    (root / 'lists/val_folder_new.txt').write_text('\r\n'.join(lines))
    return 'lists/val_folder_new.txt'


def write_metadata(root, with_wnid=False):
    folder = root / 'metadata/val'
    folder.mkdir(parents=True)
    ids = {n: f'val/{WNIDS[label] + "/" if with_wnid else ""}{name(n)}.JPEG' for n, label in LABELS.items()}
    (folder / 'class_labels.txt').write_text('\n'.join(f'{ids[n]},{label}' for n, label in LABELS.items()))
    lines = [f'{ids[n]},' + ','.join(map(str, box)) for n, boxes in BOXES.items() for box in boxes]
    (folder / 'localization.txt').write_text('\n'.join(lines))
    return 'metadata/val'


def write_xml(root, inside=''):
    folder = root / 'Annotations/CLS-LOC/val'
    for number, label in LABELS.items():
        boxes = ''.join(
            f'<object><name>{WNIDS[label]}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax>'
            f'<ymax>{y1}</ymax></bndbox></object>'
            for x0, y0, x1, y1 in BOXES[number]
        )
        path = folder / inside.format(wnid=WNIDS[label]) / f'{name(number)}.xml'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f'<annotation><size><width>40</width><height>30</height></size>{boxes}</annotation>',
            encoding='utf-8',
        )
    return 'Annotations/CLS-LOC/val'


def flatten(root):
    for path in list(root.glob('val/*/*')):
        path.rename(root / 'val' / path.name)
    for wnid in WNIDS:
        (root / 'val' / wnid).rmdir()


def check(dataset):
    assert len(dataset) == 3 and dataset.metainfo['classes'] == tuple(WNIDS)
    for index in range(3):
        info = dataset.get_data_info(index)
        number = int(info['img_id'][-13:-5])
        assert info['gt_label'] == LABELS[number]
        np.testing.assert_array_equal(info['gt_bboxes'], BOXES[number])
        assert (info['width'], info['height']) == (40, 30)


def test_train(root):
    dataset = ILSVRC(str(root))
    assert [dataset.get_data_info(i)['gt_label'] for i in range(6)] == [0, 0, 1, 1, 2, 2]
    assert dataset.get_data_info(0)['img_id'] == 'train/n01440764/n01440764_7.JPEG'
    assert 'gt_bboxes' not in dataset.get_data_info(0)
    assert len(ILSVRC(str(root), split='val')) == 3


@pytest.mark.parametrize('flat', [False, True])
@pytest.mark.parametrize('write', [write_list, write_metadata, write_xml])
def test_boxes_from_every_source_in_both_layouts(root, write, flat):
    source = write(root)
    if flat:
        flatten(root)
    check(ILSVRC(str(root), split='val', box_source=source, test_mode=True))
    check(ILSVRC(str(root), split='val', box_source=str(root / source), test_mode=True))


def test_metadata_and_xml_in_class_folders(root):
    check(ILSVRC(str(root), split='val', box_source=write_metadata(root, with_wnid=True)))
    check(ILSVRC(str(root), split='val', box_source=write_xml(root, inside='{wnid}')))


def test_class_index_comes_from_training_folders_or_class_file(root):
    source = write_list(root)
    for path in root.glob('val/n01440764/*'):
        path.unlink()
    (root / 'val/n01440764').rmdir()
    (root / source).write_text(
        '\n'.join(line for line in (root / source).read_text().split('\n') if 'n014' not in line)
    )
    dataset = ILSVRC(str(root), split='val', box_source=source, test_mode=True)
    assert dataset.metainfo['classes'] == tuple(WNIDS)
    assert sorted(dataset.get_data_info(i)['gt_label'] for i in range(2)) == [1, 2]
    # a class file selects and describes; its order does not matter
    (root / 'synset_words.txt').write_text('n03000684 chain saw, chainsaw\nn01440764 tench, Tinca tinca\n')
    dataset = ILSVRC(str(root), class_file='synset_words.txt')
    assert dataset.metainfo['classes'] == ('n01440764', 'n03000684')
    assert dataset.metainfo['class_descriptions'] == ('tench, Tinca tinca', 'chain saw, chainsaw')
    assert [dataset.get_data_info(i)['gt_label'] for i in range(4)] == [0, 0, 1, 1]


def test_errors(root):
    source = write_list(root)
    path = root / source
    content = path.read_text()

    def expect(message, kind=DatasetError, **options):
        with pytest.raises(kind, match=message):
            ILSVRC(str(root), split='val', **{'box_source': source, **options})

    path.write_text(content.replace(' 3 4 39 29', ' 3 4 39'))
    expect(
        r'val_folder_new.txt, line 3: expected <wnid>/<image> <label>.*expected 4 coordinates per box, got 3'
    )
    path.write_text(content.replace(' 3 4 39 29', ' 3 4 39 x'))
    expect("line that does not parse.*could not convert string to float: 'x'")
    path.write_text(content.replace(' 3 4 39 29', ' 3 4 60 29'))
    expect('box outside the image.*40x30.*overruns by 20')
    path.write_text(content.replace(name(3), name(2)))
    expect(f'repeated entry.*line 3: expected .{name(2)}. once, got it')
    path.write_text(content.replace(name(3), name(33)))
    expect(
        rf'image without box \(1\): .*: expected boxes of val/n02102040/{name(3)}.JPEG, got none'
        rf'(?s:.)*missing image \(1\): .*: expected {name(33)}, as'
    )
    path.write_text(content.replace(f'{WNIDS[1]}/{name(3)}', f'{WNIDS[0]}/{name(3)}'))
    expect('image in a wrong folder.*expected the class of the folder, got n01440764')
    path.write_text(content)
    expect('box_source: expected .*, got nothing at .*nothing', FileNotFoundError, box_source='nothing')
    with pytest.raises(ValueError, match="split: expected 'train' or 'val', got 'test'"):
        ILSVRC(str(root), split='test')
    with pytest.raises(FileNotFoundError, match='got nothing at .*nowhere/train'):
        ILSVRC(str(root / 'nowhere'))
    (root / 'val/n00000001').mkdir()
    expect('unknown class.*expected the class folders of train/, got .n00000001')
    skipping = ILSVRC(str(root), split='val', box_source=source, on_error='skip', test_mode=True)
    assert len(skipping) == 3 and skipping.skipped == {'unknown class': 1}


def test_empty_training_class(root):
    for path in root.glob('train/n02102040/*'):
        path.unlink()
    with pytest.raises(DatasetError, match=r'class without images \(1\): n02102040'):
        ILSVRC(str(root))


def test_flat_images_need_a_source(root):
    flatten(root)
    with pytest.raises(
        DatasetError, match='box_source: expected a list file.*, got none, and .*val has no class folders'
    ):
        ILSVRC(str(root), split='val')
    (root / 'metadata/val').mkdir(parents=True)
    lines = [f'val/{name(number)}.JPEG,1,1,5,5' for number in LABELS]
    (root / 'metadata/val/localization.txt').write_text('\n'.join(lines))
    with pytest.raises(DatasetError, match=r'image without entry \(3\): .*: expected a class, got none'):
        ILSVRC(str(root), split='val', box_source='metadata/val')


def test_part_of_the_classes_of_a_flat_folder(root):
    sources = [write_list(root), write_xml(root)]
    metadata = write_metadata(root)
    flatten(root)
    (root / 'two.txt').write_text('n02102040\nn03000684\n')
    for source in sources:
        dataset = ILSVRC(str(root), split='val', box_source=source, class_file='two.txt', test_mode=True)
        assert {
            dataset.get_data_info(i)['img_id'][-6:-5]: dataset.get_data_info(i)['gt_label'] for i in range(2)
        } == {
            '1': 1,
            '3': 0,
        }
        assert len(dataset) == 2
    with pytest.raises(
        DatasetError,
        match='expected wnids, or labels of the 2 classes in use, got labels up to 2 without wnid',
    ):
        ILSVRC(str(root), split='val', box_source=metadata, class_file='two.txt')
    (root / 'train/n02102040').rename(root / 'elsewhere')
    with pytest.raises(
        DatasetError, match=r'unknown class \(1\): .*: expected one of the 2 class folders, got n02102040'
    ):
        ILSVRC(str(root), split='val', box_source=sources[0])


def test_label_column_of_all_classes(tmp_path, write_image, monkeypatch):
    monkeypatch.setattr('wsol_mm.datasets.ilsvrc._ALL_CLASSES', 2)
    for number, wnid in enumerate(('n00000001', 'n00000002')):
        write_image(tmp_path / f'val/{wnid}/{name(number)}.JPEG', format='JPEG')
    lines = [f'n0000000{number + 1}/{name(number)}.JPEG {number} 1 1 9 9' for number in range(2)]
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    assert len(ILSVRC(str(tmp_path), split='val', box_source='list.txt')) == 2
    (tmp_path / 'list.txt').write_text('\n'.join(lines).replace('JPEG 1', 'JPEG 0'))
    with pytest.raises(DatasetError, match=r'wrong label \(1\): .*: expected 1, the rank of the wnid, got 0'):
        ILSVRC(str(tmp_path), split='val', box_source='list.txt')


def test_xml_errors(root):
    source = write_xml(root)
    path = root / source / f'{name(2)}.xml'
    good = path.read_text()
    for bad, message in (
        (good[:-20], r'got no valid XML \(.*line 1'),
        (
            good.replace('<xmin>5', '<xmin>five'),
            r"bndbox of object 2: expected .*, got \['five', '6', '30', '28'\]",
        ),
        (good.replace(WNIDS[0], WNIDS[1], 1), r"expected one class, got \['n.*, 'n.*'\]"),
        (good.replace('<width>40', '<width>41'), 'expected 41x30 .*, got 40x30'),
    ):
        path.write_text(bad)
        with pytest.raises(DatasetError, match=message):
            ILSVRC(str(root), split='val', box_source=source)


def test_real_photographs(shared_dir):
    root = str(shared_dir / 'data/ilsvrc10')
    assert len(ILSVRC(root)) == 1200
    dataset = ILSVRC(root, split='val', box_source='metadata/val', test_mode=True)
    assert len(dataset) == 500
    assert sum(len(dataset.get_data_info(i)['gt_bboxes']) for i in range(500)) == 813
    wnids = (shared_dir / 'data/ilsvrc10/classes.txt').read_text().split()
    assert dataset.metainfo['classes'] == tuple(wnids)
    assert set(dataset.class_counts().values()) == {50}
