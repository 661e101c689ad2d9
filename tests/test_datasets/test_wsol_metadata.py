"""Splits described by wsolevaluation's text files."""

from wsol_mm.datasets import DatasetError, WSOLMetadataDataset
from wsol_mm.evaluation.metrics import PixelAveragePrecision
from wsol_mm.registry import DATASETS, TRANSFORMS

import cv2
import numpy as np
import pytest


@pytest.fixture
def root(tmp_path, write_image):
    """Three images of two classes in `images/`; boxes in `metadata/`."""
    for path in ('cat/b, 1.jpg', 'cat/a.jpg', 'dog/c.jpg'):
        write_image(tmp_path / 'images' / path)
    folder = tmp_path / 'metadata'
    folder.mkdir()
    (folder / 'image_ids.txt').write_text('cat/b, 1.jpg\ndog/c.jpg\n\ncat/a.jpg')
    (folder / 'class_labels.txt').write_text('cat/a.jpg,0\ncat/b, 1.jpg,0\r\ndog/c.jpg,1\n')
    (folder / 'image_sizes.txt').write_text('cat/a.jpg,40,30\ncat/b, 1.jpg,40,30\ndog/c.jpg,40,30\n')
    (folder / 'localization.txt').write_text(
        'cat/b, 1.jpg,1,2,21.5,12\ncat/a.jpg,0,0,9,9\n\ndog/c.jpg,3,3,39,29\ncat/b, 1.jpg,5,6,30,28\n'
    )
    return tmp_path


def build(root, **options):
    return WSOLMetadataDataset(str(root), 'metadata', **{'data_prefix': 'images', **options})


def test_order_labels_and_boxes(root):
    dataset = build(root, test_mode=True)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [info['img_id'] for info in infos] == ['cat/b, 1.jpg', 'dog/c.jpg', 'cat/a.jpg']
    assert [info['gt_label'] for info in infos] == [0, 1, 0]
    np.testing.assert_array_equal(infos[0]['gt_bboxes'], [[1, 2, 21.5, 12], [5, 6, 30, 28]])
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert (infos[0]['width'], infos[0]['height']) == (40, 30)
    assert 'gt_bboxes' not in build(root, with_localization=False).get_data_info(0)


def test_a_list_of_images_that_was_cut_off(root):
    path = root / 'metadata/image_ids.txt'
    path.write_text(path.read_text().splitlines()[0] + '\n')
    message = "image_ids.txt: expected the 3 images of class_labels.txt, got 1: 'cat/a.jpg' is not among them"
    with pytest.raises(DatasetError, match=message):
        build(root, test_mode=True)


def test_masks_outside_the_folder(root):
    path = root / 'metadata/localization.txt'
    path.write_text('cat/a.jpg,../../secret.png,\n')
    with pytest.raises(DatasetError, match='path outside the folder'):
        build(root, test_mode=True)


def test_class_names(root):
    (root / 'names.txt').write_text('a cat\na dog\na cow\n')
    assert build(root, class_file='names.txt', test_mode=True).metainfo['classes'] == (
        'a cat',
        'a dog',
        'a cow',
    )
    assert build(root, num_classes=4, test_mode=True).metainfo['classes'] == ('cat', 'dog', '2', '3')
    with pytest.raises(ValueError, match=r'names.txt: expected 4 names \(num_classes\), got 3'):
        build(root, class_file='names.txt', num_classes=4)
    (root / 'images/cat/c.jpg').write_bytes((root / 'images/dog/c.jpg').read_bytes())
    for file in ('image_ids', 'class_labels', 'image_sizes', 'localization'):
        path = root / f'metadata/{file}.txt'
        path.write_text(path.read_text().replace('dog/', 'cat/'))
    assert build(root).metainfo['classes'] == ('0', '1')  # folders do not tell the classes


def test_without_optional_files(root):
    (root / 'metadata/image_sizes.txt').unlink()
    assert build(root).get_data_info(0)['width'] == 40
    (root / 'metadata/localization.txt').unlink()
    info = build(root, test_mode=True).get_data_info(0)
    assert 'gt_bboxes' not in info and info['width'] == 40
    with pytest.raises(FileNotFoundError, match='localization.txt'):
        build(root, with_localization=True)


@pytest.mark.parametrize(
    ('file', 'old', 'new', 'message'),
    [
        (
            'image_ids',
            'dog/c.jpg',
            'cat/a.jpg',
            "repeated entry.*image_ids.txt, line 4: expected 'cat/a.jpg' once, got it",
        ),
        (
            'class_labels',
            'dog/c.jpg,1',
            'dog/c.jpg',
            'class_labels.txt, line 3: expected <path>,<label.*expected 2 fields, .*, got 1',
        ),
        ('class_labels', 'dog/c.jpg,1', 'dog/c.jpg,x', "line 3: expected .*, got 'dog/c.jpg,x'"),
        (
            'class_labels',
            'dog/c.jpg,1',
            'dog/c.jpg,-1',
            'label out of range.*dog/c.jpg: expected a label from 0 to 0, got -1',
        ),
        (
            'class_labels',
            'dog/',
            'cow/',
            r'image without entry \(1\): .*class_labels.txt: expected dog/c.jpg, got none',
        ),
        ('image_sizes', 'dog/c.jpg,40,30', 'dog/c.jpg,40,0', 'expected sides from 1, got 40 and 0'),
        ('image_sizes', 'dog/c.jpg,40,30', 'dog/c.jpg,30,40', 'expected 30x40 .*, got 40x30'),
        (
            'localization',
            'dog/c.jpg,3,3',
            'dog/c.jpg,3',
            r'localization.txt, line 4: .*<ignore file.*expected an image file as mask, got',
        ),
        ('localization', 'dog/c.jpg,3', 'dog/c.jpg,inf', 'line that does not parse'),
        ('localization', 'dog/', 'cow/', r'image without box \(1\): dog/c.jpg'),
        (
            'localization',
            '3,3,39,29',
            '3,3,3,29',
            r'degenerate box.*x0 < x1 and y0 < y1, got \[3, 3, 3, 29\]',
        ),
        ('localization', '3,3,39,29', '3,3,42,29', 'dog/c.jpg, 40x30.* overruns by 2'),
        (
            'localization',
            'dog/c.jpg,3,3,39,29',
            'dog/c.jpg,m.png,',
            'expected either boxes or masks, got boxes .* and masks',
        ),
    ],
)
def test_errors(root, file, old, new, message):
    path = root / f'metadata/{file}.txt'
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
    with pytest.raises(DatasetError, match=message):
        build(root, test_mode=True)


def test_wrong_place(root):
    with pytest.raises(
        FileNotFoundError,
        match='expected a folder with image_ids.txt.*, got nothing at .*nowhere/image_ids.txt',
    ):
        WSOLMetadataDataset(str(root), 'nowhere')
    (root / 'metadata/class_labels.txt').unlink()
    with pytest.raises(FileNotFoundError, match='class_labels.txt'):
        build(root)


# ---------------------------------------------------------------------- masks


@pytest.fixture
def mask_root(root):
    """Two instances and an ignore file for the first image, one instance each for the others."""
    (root / 'masks').mkdir()
    for number, (y, x) in enumerate([(0, 0), (15, 20), (5, 5), (5, 5)]):
        mask = np.zeros((30, 40), np.uint8)
        mask[y : y + 15, x : x + 20] = 255
        cv2.imwrite(str(root / f'masks/m{number}.png'), mask)
    ignore = np.zeros((30, 40), np.uint8)
    ignore[:, 18:22] = 1
    cv2.imwrite(str(root / 'masks/ignore.png'), ignore)
    (root / 'metadata/localization.txt').write_text(
        'cat/b, 1.jpg,m0.png,ignore.png\ncat/b, '
        '1.jpg,m1.png,\ndog/c.jpg,m2.png,ignore.png\ncat/a.jpg,m3.png,\n'
    )
    return root


def build_masks(root, size=None, **options):
    pipeline = [
        dict(type='LoadImageWithPillow'),
        dict(type='Resize', scale=(20, 15), backend='pillow'),
        dict(type='LoadLocalizationMask', size=size),
        dict(type='PackLocalizationInputs'),
    ]
    config = dict(type='WSOLMetadataDataset', data_root=str(root), metadata_dir='metadata', pipeline=pipeline)
    prefix = dict(img_path='images', mask_path='masks')
    return DATASETS.build(config | dict(data_prefix=prefix, test_mode=True) | options)


def test_masks(mask_root):
    dataset = build_masks(mask_root)
    info = dataset.get_data_info(0)
    assert info['mask_paths'] == [str(mask_root / 'masks/m0.png'), str(mask_root / 'masks/m1.png')]
    assert info['ignore_path'] == str(mask_root / 'masks/ignore.png')
    assert dataset.get_data_info(2)['ignore_path'] is None
    mask = dataset[0]['data_samples'].gt_mask
    expected = np.zeros((15, 20), np.uint8)
    expected[:, 9:11] = 255
    expected[:8, :10] = 1  # rows 0, 2, .. 14 of the first mask are object
    expected[8:, 10:] = 1
    np.testing.assert_array_equal(mask, expected)
    assert mask.dtype == np.uint8
    assert 255 not in dataset[2]['data_samples'].gt_mask


@pytest.mark.parametrize(('size', 'shape'), [(224, (224, 224)), ((40, 30), (30, 40))])
def test_mask_frame_of_its_own(mask_root, size, shape):
    mask = build_masks(mask_root, size)[0]['data_samples'].gt_mask
    assert mask.shape == shape
    assert (mask == 1).mean() == pytest.approx(0.5, abs=0.01)
    (mask_root / 'masks/m2.png').write_bytes(b'no image')
    damaged = build_masks(mask_root, size)[1]['data_samples'].gt_mask
    assert damaged.shape == shape and (damaged == 255).all()


def test_mask_frame_default_is_that_of_the_metric():
    loader = TRANSFORMS.build(dict(type='LoadLocalizationMask'))
    assert loader.size == (PixelAveragePrecision().protocol.frame_size,) * 2 == (224, 224)


@pytest.mark.parametrize('size', [0, -3, (3,), (4, 0), (4.0, 4)])
def test_mask_frame_refused(size):
    with pytest.raises(ValueError, match='size: expected an integer from 1, .*, got'):
        TRANSFORMS.build(dict(type='LoadLocalizationMask', size=size))


def test_mask_errors(mask_root):
    path = mask_root / 'metadata/localization.txt'
    content = path.read_text()
    (mask_root / 'masks/m2.png').unlink()
    with pytest.raises(DatasetError, match=r'missing mask \(1\): .*masks/m2.png'):
        build_masks(mask_root)
    assert len(build_masks(mask_root, on_error='skip')) == 2
    with pytest.raises(DatasetError, match='m2.png: expected an image file as mask, got none that decodes'):
        build_masks(mask_root, check_files=False, test_mode=False)[1]
    path.write_text(content.replace('m1.png,', 'm1.png,other.png'))
    with pytest.raises(
        DatasetError, match="line 2: expected one ignore file per image, got a second one, 'other.png'"
    ):
        build_masks(mask_root)
    (mask_root / 'masks/m2.png').write_bytes((mask_root / 'masks/m3.png').read_bytes())
    path.write_text(content.replace('cat/a.jpg,m3.png,\n', ''))
    with pytest.raises(DatasetError, match=r'image without mask \(1\): cat/a.jpg'):
        build_masks(mask_root)


def test_damaged_mask(mask_root):
    (mask_root / 'masks/m2.png').write_bytes(b'no image')
    with pytest.raises(DatasetError, match=r'image that does not decode \(1\): .*m2.png'):
        build_masks(mask_root, verify_images=True)
    assert len(build_masks(mask_root, verify_images=True, on_error='skip')) == 2
    with pytest.raises(DatasetError, match='m2.png: expected an image file as mask, got none that decodes'):
        build_masks(mask_root, test_mode=False)[1]
    sample = build_masks(mask_root)[1]['data_samples']
    assert 'm2.png' in sample.load_error and (sample.gt_mask == 255).all()


# ---------------------------------------------------------------------- real lists


def test_cubv2_and_cub_lists(shared_dir):
    val = WSOLMetadataDataset(str(shared_dir / 'data'), 'cub_metadata/val', check_files=False, test_mode=True)
    assert (len(val), len(val.metainfo['classes'])) == (1000, 200)
    assert all(len(val.get_data_info(i)['gt_bboxes']) == 1 for i in range(1000))
    assert set(val.class_counts().values()) == {3, 5, 6}
    test = WSOLMetadataDataset(
        str(shared_dir / 'data'), 'cub_metadata/test', check_files=False, test_mode=True
    )
    assert len(test) == 5794
    assert val.metainfo['classes'] == test.metainfo['classes']
    five = WSOLMetadataDataset(
        str(shared_dir / 'data'), 'cub_metadata/val', check_files=False, shots_per_class=3, shots_seed=1
    )
    assert set(five.class_counts().values()) == {3}


def test_ilsvrc_photographs(shared_dir):
    dataset = WSOLMetadataDataset(
        str(shared_dir / 'data/ilsvrc_val650'), 'metadata/val', num_classes=1000, test_mode=True
    )
    assert len(dataset) == 650
    assert sum(len(dataset.get_data_info(i)['gt_bboxes']) for i in range(650)) == 1018
