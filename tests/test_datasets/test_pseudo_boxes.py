"""Tests of wsol_mm.datasets.transforms.pseudo_boxes and .random_crops: boxes move with their images."""

import json
from pathlib import Path

from wsol_mm.datasets.transforms import LoadPseudoBox, PackLocalizationInputs, RandomCrop
from wsol_mm.datasets.transforms.pseudo_boxes import PseudoBoxProblem
from wsol_mm.registry import DATASETS, TRANSFORMS
from wsol_mm.web.review.export import ACCEPTED
from wsol_mm.web.review.review_set import CORRECTED, DRAWN

import numpy as np
import pytest
import torch
from mmpretrain.datasets import transforms

HEIGHT, WIDTH = 60, 80


def box(image_id: int, bbox: list, **values) -> dict:
    return dict(image_id=image_id, category_id=1, bbox=bbox, **values)


@pytest.fixture
def source(tmp_path):
    content = dict(
        images=[dict(id=number, file_name=f'cat/{name}.png') for number, name in enumerate('abc', 1)],
        annotations=[
            box(1, [1, 2, 3, 4], score=0.2, confidence=0.9),
            box(1, [20, 10, 30, 20], score=0.7, confidence=0.6),
            box(1, [5, 5, 5, 5], score=0.7, confidence=0.5),
            box(3, [0, 0, 8, 6]),
        ],
    )
    path = tmp_path / 'pseudo.json'
    path.write_text(json.dumps(content))
    return str(path)


def item(name: str = 'a') -> dict:
    """An image that is white in the best box of the first."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[10:30, 20:50] = 255
    common = dict(img_id=f'cat/{name}.png', gt_label=0, img=image)
    return dict(**common, img_shape=(HEIGHT, WIDTH), ori_shape=(HEIGHT, WIDTH))


def test_the_best_box_and_its_weight(source):
    found = LoadPseudoBox(source)(item())
    assert found['gt_bboxes'].tolist() == [[20, 10, 50, 30]] and found['pseudo_box_weight'] == 1
    assert LoadPseudoBox(source, weighted=True)(item())['pseudo_box_weight'] == 0.6
    assert LoadPseudoBox(source, min_confidence=0.6)(item())['pseudo_box_weight'] == 1
    assert LoadPseudoBox(source, min_confidence=0.7, weighted=True)(item())['pseudo_box_weight'] == 0
    assert LoadPseudoBox(source)(item('b'))['pseudo_box_weight'] == 0  # listed, without a box
    assert LoadPseudoBox(source)(item('c'))['gt_bboxes'].tolist() == [[0, 0, 8, 6]]


@pytest.mark.parametrize('review', [ACCEPTED, CORRECTED, DRAWN])
def test_what_a_person_has_checked_is_certain(source, review):
    content = json.loads(Path(source).read_text())
    content['annotations'][2]['review'] = review  # confidence 0.5, of two boxes with the best score
    content['annotations'][3]['review'] = review  # without a confidence
    Path(source).write_text(json.dumps(content))
    for name, ends in (('a', [5, 5, 10, 10]), ('c', [0, 0, 8, 6])):
        found = LoadPseudoBox(source, min_confidence=0.9, weighted=True)(item(name))
        assert found['gt_bboxes'].tolist() == [ends] and found['pseudo_box_weight'] == 1


def test_an_image_of_another_size_is_named(source):
    content = json.loads(Path(source).read_text())
    content['images'][0] |= dict(width=HEIGHT, height=WIDTH)
    content['images'][2] |= dict(width=WIDTH, height=HEIGHT)
    Path(source).write_text(json.dumps(content))
    with pytest.raises(
        PseudoBoxProblem, match=r'cat/a.png with 80x60 pixels, as loaded here, got 60x80; .*EXIF'
    ):
        LoadPseudoBox(source)(item())
    assert LoadPseudoBox(source)(item('c'))['pseudo_box_weight'] == 1


RESIZE = dict(type='Resize', scale=(160, 60), backend='pillow')
FLIP = dict(type='RandomFlip', prob=1.0, direction='horizontal')


@pytest.mark.parametrize(
    'steps',
    [
        [],
        [RESIZE],
        [FLIP],
        [RESIZE, FLIP],
        [dict(type='CenterCrop', crop_size=(50, 40))],
        [dict(type='RandomCrop', crop_size=(40, 50))],
        [RESIZE, dict(type='RandomCrop', crop_size=(50, 120)), FLIP],
        [
            dict(type='RandomResizedCrop', scale=(90, 120), crop_ratio_range=(0.4, 0.8), backend='pillow'),
            FLIP,
        ],
    ],
    ids=lambda steps: '-'.join(step['type'] for step in steps) or 'nothing',
)
def test_the_box_is_where_the_object_is(source, steps):
    made = [TRANSFORMS.build(step) for step in steps]
    for seed in range(5):
        np.random.seed(seed)
        results = LoadPseudoBox(source)(item())
        for step in made:
            results = step(results)
        packed = PackLocalizationInputs()(results)
        white = packed['inputs'][0].numpy() > 127
        rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
        height, width = white.shape
        ends = [columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height]
        sample = packed['data_samples']
        np.testing.assert_allclose(sample.pseudo_box, ends, atol=1.01 / min(height, width))
        assert sample.pseudo_box_weight.tolist() == [1] and sample.pseudo_box.dtype == torch.float32


def test_an_object_that_is_cropped_away_is_not_learnt(source):
    results = LoadPseudoBox(source)(item())
    results = TRANSFORMS.build(dict(type='CenterCrop', crop_size=(8, 8)))(results)
    results['gt_bboxes'] = np.array([[8.0, 0, 8, 5]])
    assert PackLocalizationInputs()(results)['data_samples'].pseudo_box_weight.tolist() == [0]


@pytest.mark.parametrize('name', ['RandomCrop', 'RandomResizedCrop'])
def test_crops_have_the_pixels_of_mmpretrain(name):
    settings = dict(crop_size=32) if name == 'RandomCrop' else dict(scale=32)
    ours, theirs = TRANSFORMS.build(dict(type=name, **settings)), getattr(transforms, name)(**settings)
    assert type(ours) is not type(theirs) and repr(ours) == repr(theirs)
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    for seed in range(3):
        found = []
        for transform in (ours, theirs):
            np.random.seed(seed)
            found.append(transform(dict(img=image)))
        assert np.array_equal(found[0]['img'], found[1]['img']) and 'gt_bboxes' not in found[0]


def test_boxes_of_padded_images_are_refused(source):
    with pytest.raises(ValueError, match='RandomCrop: expected no padding of an image with boxes, got'):
        RandomCrop(32, padding=4)(LoadPseudoBox(source)(item()))


def test_problems(source, tmp_path):
    with pytest.raises(PseudoBoxProblem, match=r'pseudo\.json: expected the image cat/d\.png, got none'):
        LoadPseudoBox(source)(item('d'))
    with pytest.raises(PseudoBoxProblem, match=r'expected a confidence of the box of cat/c\.png, got none'):
        LoadPseudoBox(source, min_confidence=0.1)(item('c'))
    with pytest.raises(ValueError, match='expected the image as it was loaded, got one that was resized'):
        LoadPseudoBox(source)(TRANSFORMS.build(RESIZE)(item()))
    with pytest.raises(ValueError, match='min_confidence: expected a number from 0 to 1, got 2'):
        LoadPseudoBox(source, min_confidence=2)
    with pytest.raises(FileNotFoundError):
        LoadPseudoBox(str(tmp_path / 'none.json'))(item())
    for text, message in (
        ('{}', r'wrong\.json: expected COCO annotations with the lists images and annotations'),
        ('no json', r'wrong\.json: expected COCO annotations'),
        (
            '{"images": [], "annotations": [{"image_id": 7, "bbox": [0, 0, 1, 1]}]}',
            r'annotations\[0\]: expected',
        ),
        (
            '{"images": [{"id": 7, "file_name": "a"}], "annotations": [{"image_id": 7, "bbox": [0, 1]}]}',
            r'annotations\[0\]: expected image_id of an image and bbox',
        ),
    ):
        (tmp_path / 'wrong.json').write_text(text)
        with pytest.raises(PseudoBoxProblem, match=message):
            LoadPseudoBox(str(tmp_path / 'wrong.json'))(item())


def test_in_a_data_set(tmp_path, write_image):
    write_image(tmp_path / 'images' / 'cat' / '0.png')
    images = [dict(id=1, file_name='cat/0.png')]
    content = dict(images=images, annotations=[box(1, [0, 0, 4, 2])])
    (tmp_path / 'pseudo.json').write_text(json.dumps(content))
    pipeline = [
        dict(type='LoadImageWithPillow'),
        dict(type='LoadPseudoBox', source=str(tmp_path / 'pseudo.json')),
        dict(type='PackLocalizationInputs'),
    ]
    data = DATASETS.build(
        dict(type='FolderDataset', data_root=str(tmp_path), data_prefix='images', pipeline=pipeline)
    )
    sample = data[0]['data_samples']
    height, width = sample.ori_shape
    torch.testing.assert_close(sample.pseudo_box, torch.tensor([0, 0, 4 / width, 2 / height]))
    assert 'gt_bboxes' not in sample
