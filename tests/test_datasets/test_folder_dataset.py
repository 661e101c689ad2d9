"""Images of one's own, with boxes in three formats."""

import json

from wsol_mm.datasets import DatasetError, FolderDataset

import numpy as np
import pytest
from PIL import Image

BOXES = {
    'cat/a.jpg': [[1, 2, 20, 12]],
    'cat/deep/b.PNG': [[0, 0, 9, 9], [5, 5, 30, 28]],
    'dog/c.webp': [[3, 3, 39, 29]],
}


@pytest.fixture
def root(tmp_path, write_image):
    """Two classes with folders inside, other files and hidden ones."""
    for number, path in enumerate([*BOXES, '.cache/x.jpg', 'cat/.hidden.jpg', 'dog/.thumbs/y.jpg']):
        write_image(tmp_path / 'val' / path, seed=number)
    (tmp_path / 'val/cat/notes.txt').write_text('no image')
    (tmp_path / 'val/Thumbs.db').write_text('')
    return tmp_path


def build(root, **options):
    return FolderDataset(str(root), **{'data_prefix': 'val', 'test_mode': True, **options})


def boxes_of(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return {info['img_id']: info.get('gt_bboxes', np.zeros((0, 4))).tolist() for info in infos}


def write_coco(root, names=lambda path: path, category='thing'):
    images, annotations = [], []
    for key, (path, boxes) in enumerate(BOXES.items(), 7):
        images.append(dict(id=key, file_name=names(path), width=40, height=30))
        for x0, y0, x1, y1 in boxes:
            annotations.append(
                dict(id=len(annotations), image_id=key, bbox=[x0, y0, x1 - x0, y1 - y0], category_id=3)
            )
    annotations.append(dict(id=99, image_id=7, bbox=[0, 0, 40, 30], category_id=3, iscrowd=1))
    images.append(dict(id=1, file_name='train/other.jpg'))
    annotations.append(dict(id=98, image_id=1, bbox=[0, 0, 4, 3], category_id=3))
    content = dict(images=images, annotations=annotations, categories=[dict(id=3, name=category)])
    (root / 'boxes.json').write_text(json.dumps(content))
    return 'boxes.json'


def write_csv(root, names=lambda path: path, heading='path,x0,y0,x1,y1\n', label=''):
    lines = [
        f'{names(path)},{",".join(map(str, box))}{label}' for path, boxes in BOXES.items() for box in boxes
    ]
    (root / 'boxes.csv').write_text(heading + '\r\n'.join(lines) + '\n\n')
    return 'boxes.csv'


def write_voc(root, nested=True, shift=1, label='thing'):
    for path, boxes in BOXES.items():
        stem = path.rpartition('.')[0]
        file = root / 'xml' / f'{stem if nested else stem.rpartition("/")[2]}.xml'
        file.parent.mkdir(parents=True, exist_ok=True)
        objects = ''.join(
            ''
            ''
            f'<object><name>{label}</name><bndbox><xmin>{x0 + shift}</xmin><ymin>{y0 + shift}</ymin>'
            f'<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>'
            for x0, y0, x1, y1 in boxes
        )
        file.write_text(f'<annotation><size><width>0</width><height>0</height></size>{objects}</annotation>')
    return 'xml'


def test_images_and_classes(root):
    dataset = build(root)
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    infos = [dataset.get_data_info(i) for i in range(3)]
    assert [(info['img_id'], info['gt_label']) for info in infos] == [
        ('cat/a.jpg', 0),
        ('cat/deep/b.PNG', 0),
        ('dog/c.webp', 1),
    ]
    assert infos[0]['img_path'] == str(root / 'val/cat/a.jpg')
    assert len(build(root, extensions=['.JPG', '.png'])) == 2
    assert FolderDataset(str(root / 'val')).metainfo['classes'] == ('cat', 'dog')


def test_classes_of_a_training_folder(root, write_image):
    for name in ('ant', 'cat', 'dog'):
        write_image(root / f'train/{name}/1.jpg')
    assert build(root, data_prefix='train').metainfo['classes'] == ('ant', 'cat', 'dog')
    dataset = build(root, class_folder='train')
    assert dataset.metainfo['classes'] == ('ant', 'cat', 'dog')
    assert [dataset.get_data_info(i)['gt_label'] for i in range(3)] == [1, 1, 2]
    dataset = build(root, classes=['dog', 'ant'])
    assert dataset.metainfo['classes'] == ('dog', 'ant')
    assert len(dataset) == 1 and dataset.get_data_info(0)['gt_label'] == 0
    with pytest.raises(DatasetError, match=r'class without images \(1\): ant'):
        build(root, class_folder='train', test_mode=False)
    (root / 'val/bee').mkdir()
    with pytest.raises(
        DatasetError, match=r"unknown class \(1\): .*val: expected folders of \['ant', .*\], got 'bee'"
    ):
        build(root, class_folder='train')


@pytest.mark.parametrize('names', ['relative', 'with prefix', 'bare', 'windows'])
@pytest.mark.parametrize('write', [write_coco, write_csv])
def test_boxes_by_path(root, write, names):
    change = {
        'relative': lambda path: path,
        'with prefix': lambda path: f'./val/{path}',
        'bare': lambda path: path.rpartition('/')[2],
        'windows': lambda path: path.replace('/', '\\'),
    }[names]
    assert boxes_of(build(root, box_source=write(root, change))) == BOXES


def test_boxes_in_xml(root):
    assert boxes_of(build(root, box_source=write_voc(root))) == BOXES
    assert boxes_of(build(root, box_source=write_voc(root, shift=0), voc_one_based=False)) == BOXES


def test_boxes_in_one_xml_folder(root):
    assert boxes_of(build(root, box_source=write_voc(root, nested=False))) == BOXES


@pytest.mark.parametrize('box_format', ['xyxy', 'xywh'])
def test_lists_of_catr_and_cdtr(root, box_format):
    """A line per box: the last of an image is the one that their evaluator takes."""
    lines = []
    for path, boxes in BOXES.items():
        for x0, y0, x1, y1 in boxes:
            numbers = (x0, y0, x1, y1) if box_format == 'xyxy' else (x0, y0, x1 - x0, y1 - y0)
            lines.append(f'{path} 17 {" ".join(f"{number:.1f}" for number in numbers)}')
    (root / 'list').mkdir()
    (root / 'list/val_boxes.txt').write_text('\r\n'.join(lines) + '\n')
    assert boxes_of(build(root, box_source='list/val_boxes.txt', box_format=box_format)) == BOXES


def test_errors_of_lists(root):
    (root / 'boxes.txt').write_text('cat/a.jpg 0 1 2 20 12\ncat/a.jpg 1 2 20 12\n')
    with pytest.raises(
        DatasetError, match=r'boxes\.txt, line 2: expected <path> <any.*<x0>.* \(expected 6 fields, got 5\)'
    ):
        build(root, box_source='boxes.txt')
    with pytest.raises(ValueError, match="box_format: expected 'xyxy' or 'xywh', got 'cxcywh'"):
        build(root, box_format='cxcywh')


def test_csv_without_heading_and_with_labels(root):
    assert boxes_of(build(root, box_source=write_csv(root, heading=''))) == BOXES
    assert (
        boxes_of(
            build(root, box_source=write_csv(root, heading='file,xmin,ymin,xmax,ymax,c\n', label=',bird'))
        )
        == BOXES
    )


@pytest.mark.parametrize('write', [write_coco, write_csv, write_voc])
def test_only_boxes_of_the_image_s_class_where_classes_are_known(root, write):
    options = {
        'write_coco': dict(category='cat'),
        'write_csv': dict(label=',cat'),
        'write_voc': dict(label='cat'),
    }
    source = write(root, **options[write.__name__])
    with pytest.raises(DatasetError, match=r'image without box \(1\): dog/c.webp'):
        build(root, box_source=source)
    boxes = boxes_of(build(root, box_source=source, test_mode=False))
    assert boxes == {**BOXES, 'dog/c.webp': []}


def test_image_without_box(root):
    source = write_csv(root)
    path = root / source
    path.write_text(path.read_text().replace('dog/c.webp', 'dog/d.webp'))
    with pytest.raises(DatasetError, match=r'image without box \(1\): dog/c.webp'):
        build(root, box_source=source)
    assert boxes_of(build(root, box_source=source, require_boxes=False)) == {**BOXES, 'dog/c.webp': []}
    dataset = build(root, box_source=source, on_error='skip')
    assert len(dataset) == 2 and dataset.skipped == {'image without box': 1}
    assert len(build(root, box_source=source, test_mode=False)) == 3


def test_same_name_in_two_classes(root, write_image):
    write_image(root / 'val/dog/a.jpg')
    source = write_csv(root, lambda path: path.rpartition('/')[2])
    with pytest.raises(
        DatasetError, match='ambiguous image name.*expected <class>/a.jpg, got several images named a.jpg'
    ):
        build(root, box_source=source, test_mode=False)
    with pytest.raises(DatasetError, match='ambiguous image name.*expected <class>/a, got several images a'):
        build(root, box_source=write_voc(root, nested=False), test_mode=False)
    assert len(build(root, box_source=write_csv(root), test_mode=False)) == 4  # by path all is clear
    (root / 'boxes.csv').write_text('c.webp,1,1,5,5\ndog/c.webp,1,1,6,6\n')
    with pytest.raises(DatasetError, match='expected one path per image, got dog/c.webp beside another'):
        build(root, box_source='boxes.csv', test_mode=False)


@pytest.mark.parametrize('prefix', ['', 'val/'])
def test_xml_of_two_images_that_differ_in_the_extension(root, write_image, prefix):
    write_image(root / 'val/dog/c.jpg')
    write_voc(root)
    if prefix:
        (root / 'xml').rename(root / 'val.xml')
        (root / 'xml').mkdir()
        (root / 'val.xml').rename(root / 'xml/val')
    message = r'ambiguous image name \(1\): .*c.xml: expected images that .*, got several images .*dog/c'
    with pytest.raises(DatasetError, match=message):
        build(root, box_source='xml', test_mode=False)
    # the other images keep theirs
    dataset = build(root, box_source='xml', on_error='skip')
    assert boxes_of(dataset) == {path: boxes for path, boxes in BOXES.items() if path != 'dog/c.webp'}
    # names with extension are clear
    assert boxes_of(build(root, box_source=write_csv(root), test_mode=False)) == {**BOXES, 'dog/c.jpg': []}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (
            'cat/a.jpg,1,2,3\n',
            r"boxes.csv, line 1: expected <path>,.*, got 'cat/a.jpg,1,2,3' \(.*, got 4\)",
        ),
        ('path,x0,y0,x1,y1\ncat/a.jpg,1,2,x,4\n', "line 2: .*could not convert string to float: 'x'"),
        (',1,2,3,4\n', 'expected 5 to 8 fields, the first not empty, got 5'),
        ('cat/a.jpg,5,2,5,4\n', r'degenerate box \(1\): cat/a.jpg: expected .*, got \[5, 2, 5, 4\]'),
        ('cat/a.jpg,5,2,9,50\n', 'overruns by 20'),
        (
            'cat/x.jpg,5,2,9,50\n',
            "boxes of the 3 images, such as 'cat/a.jpg', got none of them. Images are named by paths",
        ),
    ],
)
def test_csv_errors(root, content, message):
    (root / 'boxes.csv').write_text(content)
    with pytest.raises(DatasetError, match=message):
        build(root, box_source='boxes.csv', test_mode=False)


def test_coco_errors(root):
    source = write_coco(root)
    path = root / source
    good = path.read_text()
    for bad, message in (
        (good[:-9], r'boxes.json: expected a COCO instances file .*, got no valid JSON \('),
        (
            good.replace('"images"', '"pictures"'),
            r"boxes.json: expected a COCO instances file .*\(KeyError: 'images'\)",
        ),
        (
            good.replace('"image_id": 8', '"image_id": 80'),
            r'annotations\[1\]: expected image_id of an image.*\(KeyError: 80\)',
        ),
        (good.replace('"category_id": 3', '"category_id": 4', 1), r'annotations\[0\]: .*\(KeyError: 4\)'),
        (good.replace('[1, 2, 19, 10]', '[1, 2, 19]'), r'annotations\[0\]: .*\(ValueError: not enough'),
        (good.replace('[1, 2, 19, 10]', '[1, 2, 19, null]'), r'annotations\[0\]: expected .*\(TypeError: '),
        (good.replace('"width": 40', '"width": 41', 1), 'cat/a.jpg: expected 41x30 .*, got 40x30'),
        ('[]', r'boxes.json: expected a COCO instances file, or a list of tasks .*, got \[\]'),
        ('{"images": 3}', 'boxes.json: expected .*another structure .TypeError: '),
    ):
        assert bad != good
        path.write_text(bad)
        with pytest.raises(DatasetError, match=message):
            build(root, box_source=source)


def test_layout_errors(root, write_image):
    with pytest.raises(FileNotFoundError, match='box_source: expected .*, got nothing at .*nothing.csv'):
        build(root, box_source='nothing.csv')
    (root / 'boxes.dat').write_text('')
    with pytest.raises(
        ValueError,
        match=r'box_source: expected a .json file \(COCO, Label Studio\), a .csv or .*, got .*boxes.dat',
    ):
        build(root, box_source='boxes.dat')
    with pytest.raises(
        FileNotFoundError, match='expected a folder with a folder per class, got nothing at .*nowhere'
    ):
        build(root, data_prefix='nowhere')
    with pytest.raises(FileNotFoundError, match='got nothing at .*nowhere'):
        build(root, class_folder='nowhere')
    with pytest.raises(DatasetError, match='expected a folder of images per class in .*deep, got none'):
        build(root, data_prefix='val/cat/deep')
    write_image(root / 'val/stray.jpg')
    with pytest.raises(DatasetError, match=r'image outside the class folders \(1\): .*val: .*got .stray.jpg'):
        build(root)
    assert build(root, on_error='skip').skipped == {'image outside the class folders': 1}


def test_links_in_a_circle(root):
    (root / 'val/cat/loop').symlink_to(root / 'val/cat', target_is_directory=True)
    assert len(build(root)) == 3


def test_exif_orientation(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (40, 30)).save(root / 'val/cat/a.jpg', exif=exif)
    (root / 'boxes.csv').write_text('cat/a.jpg,0,20,30,40\n')
    pipeline = [dict(type='LoadImageWithPillow', apply_exif=True), dict(type='PackLocalizationInputs')]
    options = dict(box_source='boxes.csv', test_mode=False)
    dataset = build(root, pipeline=pipeline, **options)
    assert (dataset.get_data_info(0)['width'], dataset.get_data_info(0)['height']) == (30, 40)
    assert dataset[0]['data_samples'].ori_shape == (40, 30)
    with pytest.raises(DatasetError, match='expected 30x40 .*, got 40x30.*the same `apply_exif`'):
        build(root, pipeline=[dict(type='LoadImageWithPillow'), pipeline[1]], **options)[0]
    with pytest.raises(DatasetError, match='box outside the image'):
        build(root, apply_exif=False, **options)


def test_one_folder_divided(tmp_path, write_image):
    paths = [f'{name}/{number}.png' for name in ('cat', 'dog') for number in range(10)] + [
        'fox/0.png',
        'fox/1.png',
    ]
    for number, path in enumerate(paths):
        write_image(tmp_path / path, seed=number)

    def images(fraction, split, **options):
        data = FolderDataset(str(tmp_path), val_fraction=fraction, split=split, test_mode=True, **options)
        assert data.metainfo['classes'] == ('cat', 'dog', 'fox')
        return [data.get_data_info(i)['img_id'] for i in range(len(data))]

    train, val = images(0.2, 'train'), images(0.2, 'val')
    assert sorted(train + val) == sorted(paths)
    assert [sum(path.startswith(name) for path in val) for name in ('cat', 'dog', 'fox')] == [2, 2, 1]
    assert set(val) < set(images(0.5, 'val'))
    # A class keeps an image to train on, whatever is asked for.
    assert [path[:3] for path in images(0.99, 'train')] == ['cat', 'dog', 'fox']
    # Its place is that of the image: it does not change where others come or go.
    (tmp_path / train[0]).unlink()
    assert set(images(0.2, 'val')) == set(val)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(val_fraction=1), r'val_fraction: expected a number in \(0, 1\), or None, got 1'),
        (dict(val_fraction=0.2, split='test'), "split: expected 'train' or 'val', got 'test'"),
    ],
)
def test_no_division(root, options, message):
    with pytest.raises(ValueError, match=message):
        build(root, **options)
