"""Stanford Dogs, Stanford Cars and FGVC Aircraft as they are published, and OpenImages."""

import shutil

import wsol_mm  # noqa: F401
from wsol_mm.datasets import DatasetError, FGVCAircraft, OpenImages, StanfordCars, StanfordDogs
from wsol_mm.datasets.readers.matlab_files import flatten, read_mat

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

XML = (
    '<annotation><size><width>40</width><height>30</height></size><object><name>Chihuahua</name><bndbox>'
    '<xmin>{}</xmin><ymin>2</ymin><xmax>30</xmax><ymax>25</ymax></bndbox></object></annotation>'
)


def items(dataset):
    return [dataset.get_data_info(i) for i in range(len(dataset))]


# ---------------------------------------------------------------------- Stanford Dogs


@pytest.fixture(params=['', 'lists'])
def dogs_root(request, tmp_path, write_image, matlab_dir):
    (tmp_path / request.param).mkdir(exist_ok=True)
    for split in ('train', 'test'):
        shutil.copy(matlab_dir / f'dogs_{split}_list.mat', tmp_path / request.param / f'{split}_list.mat')
        paths = flatten(read_mat(matlab_dir / f'dogs_{split}_list.mat')['file_list'])
        for number, path in enumerate(paths):
            write_image(tmp_path / 'Images' / path, seed=number)
            annotation = (tmp_path / 'Annotation' / path).with_suffix('')
            annotation.parent.mkdir(parents=True, exist_ok=True)
            annotation.write_text(XML.format(number + 1))
    return tmp_path


def test_dogs(dogs_root):
    train, test = StanfordDogs(str(dogs_root)), StanfordDogs(str(dogs_root), split='test', test_mode=True)
    assert [info['gt_label'] for info in items(train)] == [0, 0, 1]
    assert 'gt_bboxes' not in train.get_data_info(0)
    assert train.metainfo['classes'] == test.metainfo['classes']
    assert test.metainfo['classes'] == ('n02085620-Chihuahua', 'n02116738-African_hunting_dog')
    assert [info['img_id'] for info in items(test)] == [
        'n02085620-Chihuahua/n02085620_2650.jpg',
        'n02116738-African_hunting_dog/n02116738_3.jpg',
    ]
    np.testing.assert_array_equal(test.get_data_info(1)['gt_bboxes'], [[2, 2, 30, 25]])


def test_errors_of_dogs(dogs_root):
    annotation = dogs_root / 'Annotation/n02085620-Chihuahua/n02085620_2650'
    annotation.write_text('<annotation>')
    with pytest.raises(
        DatasetError, match='n02085620_2650: expected Pascal VOC annotations, got no valid XML'
    ):
        StanfordDogs(str(dogs_root), split='test')
    annotation.unlink()
    with pytest.raises(DatasetError, match='image without box.*got nothing at .*Annotation/n02085620'):
        StanfordDogs(str(dogs_root), split='test')
    assert len(StanfordDogs(str(dogs_root), split='test', on_error='skip')) == 1


# ---------------------------------------------------------------------- Stanford Cars

CARS = ('AM General Hummer SUV 2000', 'Acura RL Sedan 2012')


def test_cars_in_one_file(tmp_path, write_image, matlab_dir):
    shutil.copy(matlab_dir / 'cars_annos.mat', tmp_path)
    for number in range(1, 5):
        write_image(tmp_path / f'car_ims/{number:06d}.jpg', seed=number)
    train, test = StanfordCars(str(tmp_path)), StanfordCars(str(tmp_path), split='test', test_mode=True)
    assert [info['gt_label'] for info in items(train)] == [0, 1]
    assert [info['gt_label'] for info in items(test)] == [1, 0]
    assert test.get_data_info(0)['img_id'] == 'car_ims/000003.jpg'
    np.testing.assert_array_equal(test.get_data_info(0)['gt_bboxes'], [[3, 2, 33, 25]])
    assert train.metainfo['classes'] == test.metainfo['classes'] == CARS


@pytest.mark.parametrize('inside', ['devkit', ''])
def test_cars_of_the_devkit(tmp_path, write_image, matlab_dir, inside):
    (tmp_path / 'devkit').mkdir()
    for name in ('cars_train_annos', 'cars_meta'):
        shutil.copy(matlab_dir / f'{name}.mat', tmp_path / 'devkit')
    shutil.copy(matlab_dir / 'cars_test_annos_withlabels.mat', tmp_path / inside)
    for split in ('train', 'test'):
        for number in (1, 2):
            write_image(tmp_path / f'cars_{split}/{number:05d}.jpg', seed=number)
    for split in ('train', 'test'):
        dataset = StanfordCars(str(tmp_path), split=split, with_boxes=True)
        assert [info['gt_label'] for info in items(dataset)] == [0, 1]
        assert dataset.get_data_info(0)['img_path'].endswith(f'cars_{split}/00001.jpg')
        np.testing.assert_array_equal(dataset.get_data_info(0)['gt_bboxes'], [[2, 2, 31, 25]])
        assert dataset.metainfo['classes'] == CARS
    (tmp_path / 'devkit/cars_meta.mat').unlink()
    classes = StanfordCars(str(tmp_path), split='test', test_mode=True).metainfo['classes']
    assert len(classes) == 196 and classes[0] == CARS[0]


def test_errors_of_cars(tmp_path, matlab_dir):
    with pytest.raises(FileNotFoundError, match=r'got none of cars_annos.mat, devkit/cars_test_annos_with'):
        StanfordCars(str(tmp_path), split='test')
    with pytest.raises(ValueError, match="split: expected .*, got 'val'"):
        StanfordCars(str(tmp_path), split='val')
    shutil.copy(matlab_dir / 'cars_meta.mat', tmp_path / 'cars_annos.mat')
    with pytest.raises(DatasetError, match='cars_annos.mat: expected an array of structures .*, got none'):
        StanfordCars(str(tmp_path))


# ---------------------------------------------------------------------- FGVC Aircraft


@pytest.fixture
def aircraft_root(tmp_path, write_image):
    data = tmp_path / 'data'
    data.mkdir()
    (data / 'variants.txt').write_text('707-320\nF/A-18\n727 200\n')
    boxes = []
    for number, (name, split) in enumerate(
        [('707-320', 'train'), ('F/A-18', 'train'), ('727 200', 'val'), ('F/A-18', 'test')]
    ):
        write_image(data / f'images/{number:07d}.jpg', seed=number)
        boxes.append(f'{number:07d} {number + 1} 2 40 25')
        for listed in {split, 'trainval' if split != 'test' else 'test'}:
            with (data / f'images_variant_{listed}.txt').open('a') as stream:
                stream.write(f'{number:07d} {name}\n')
    (data / 'images_box.txt').write_text('\n'.join(boxes))
    return tmp_path


@pytest.mark.parametrize('inside', ['', 'data'])
def test_aircraft(aircraft_root, inside):
    root = str(aircraft_root / inside)
    train, test = FGVCAircraft(root), FGVCAircraft(root, split='test', test_mode=True)
    assert [info['gt_label'] for info in items(train)] == [0, 1, 2]
    assert train.metainfo['classes'] == ('707-320', 'F/A-18', '727 200')
    assert test.get_data_info(0)['img_id'] == '0000003.jpg' and test.get_data_info(0)['gt_label'] == 1
    np.testing.assert_array_equal(test.get_data_info(0)['gt_bboxes'], [[4, 2, 40, 25]])
    assert len(FGVCAircraft(root, split='val', on_error='skip')) == 1
    other = FGVCAircraft(root, split='test', test_mode=True, data_prefix=str(aircraft_root / 'data/images'))
    assert other.get_data_info(0)['img_path'] == test.get_data_info(0)['img_path']


def test_errors_of_aircraft(aircraft_root, tmp_path):
    data = aircraft_root / 'data'
    content = (data / 'images_box.txt').read_text()
    (data / 'images_box.txt').write_text(content.replace(' 40 25', ' 40', 1))
    with pytest.raises(DatasetError, match=r'images_box.txt, line 1: .*expected 5 fields, got 4'):
        FGVCAircraft(str(aircraft_root), split='test')
    (data / 'images_box.txt').write_text(content.replace('0000003', '0000009'))
    with pytest.raises(DatasetError, match='image without box.*images_box.txt: expected a box of 0000003'):
        FGVCAircraft(str(aircraft_root), split='test')
    (data / 'images_variant_test.txt').write_text('0000003 F-18\n')
    with pytest.raises(DatasetError, match=r"images_variant_test.txt, line 1: .*a variant of .*, got 'F-18'"):
        FGVCAircraft(str(aircraft_root), split='test')
    (data / 'images_variant_val.txt').unlink()
    with pytest.raises(FileNotFoundError, match='images_variant_val.txt'):
        FGVCAircraft(str(aircraft_root), split='val')
    (data / 'variants.txt').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'expected images/.* got no file .*data/variants.txt and no lists'
    ):
        FGVCAircraft(str(aircraft_root))
    with pytest.raises(ValueError, match="split: expected 'train', 'val', 'trainval' or 'test', got 'all'"):
        FGVCAircraft(str(aircraft_root), split='all')


# ---------------------------------------------------------------------- OpenImages


@pytest.fixture
def openimages_root(tmp_path, write_image):
    """Two classes; the text files of wsolevaluation and those of SAT for training and testing."""
    for split in ('train', 'test'):
        folder = tmp_path / 'metadata' / split
        folder.mkdir(parents=True)
        labels, masks = [], []
        for label, name in enumerate(('0bt', '0dv')):
            path = f'{split}/{name}/{label}.jpg'
            write_image(tmp_path / path, seed=label)
            labels.append(f'{path},{label}')
            mask = np.zeros((30, 40), np.uint8)
            mask[5:15, 10:20] = 255
            Image.fromarray(mask).save(tmp_path / f'{path[:-4]}_m.png')
            masks.append(f'{path},{path[:-4]}_m.png,')
        (folder / 'image_ids.txt').write_text('\n'.join(line.rpartition(',')[0] for line in labels))
        (folder / 'class_labels.txt').write_text('\n'.join(labels))
        (folder / 'image_sizes.txt').write_text('')
        (folder / 'localization.txt').write_text('\n'.join(masks) if split == 'test' else '')
        text = '\r\n'.join(line.replace('/', '\\') for line in labels)
        (tmp_path / f'{split}_images.txt').write_bytes(text.encode())
    return tmp_path


@pytest.mark.parametrize('list_dir', [None, ''])
def test_openimages(openimages_root, repo_dir, list_dir):
    options = dict(data_root=str(openimages_root), num_classes=2, list_dir=list_dir)
    train = OpenImages(**options)
    assert [info['gt_label'] for info in items(train)] == [0, 1]
    assert train.metainfo['classes'] == ('0bt', '0dv') and 'mask_paths' not in train.get_data_info(0)
    base = Config.fromfile(repo_dir / 'configs/_base_/datasets/openimages.py')
    pipeline = base.test_dataloader.dataset.pipeline
    test = OpenImages(**options, split='test', test_mode=True, pipeline=pipeline)
    assert test.get_data_info(1)['img_id'] == 'test/0dv/1.jpg'
    assert test.get_data_info(1)['mask_paths'] == [f'{openimages_root}/test/0dv/1_m.png']
    packed = test[0]
    assert packed['inputs'].shape == (3, 224, 224)
    assert packed['data_samples'].gt_mask.sum() == 56 * 74  # 10 pixels to 224 / 40 and to 224 / 30


def test_openimages_without_masks_and_errors(openimages_root):
    options = dict(data_root=str(openimages_root), split='test', list_dir='', test_mode=True)
    shutil.rmtree(openimages_root / 'metadata')
    dataset = OpenImages(**options, num_classes=None)
    assert len(dataset) == 2 and 'mask_paths' not in dataset.get_data_info(0)
    assert len(OpenImages(**options).metainfo['classes']) == 100
    (openimages_root / 'classes.txt').write_text('Bear\nLion\n')
    assert OpenImages(**options, num_classes=2).metainfo['classes'] == ('Bear', 'Lion')
    with pytest.raises(ValueError, match=r'classes.txt: expected 100 names \(num_classes\), got 2'):
        OpenImages(**options)
    (openimages_root / 'test_images.txt').write_text('test/0bt/0.jpg;0')
    with pytest.raises(DatasetError, match=r"test_images.txt, line 1: expected <path>.*expected ',' between"):
        OpenImages(**options, num_classes=2)
    (openimages_root / 'test_images.txt').unlink()
    with pytest.raises(FileNotFoundError, match='test_images.txt'):
        OpenImages(**options)
    with pytest.raises(ValueError, match="split: expected 'train', 'val' or 'test', got 'all'"):
        OpenImages(str(openimages_root), split='all')
    with pytest.raises(FileNotFoundError, match='metadata/test/image_ids.txt'):
        OpenImages(str(openimages_root), split='test')
