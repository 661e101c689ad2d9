"""Boxes are followed through pipelines: against a blob in the image that takes the same way."""

import random

from wsol_mm.registry import TRANSFORMS
from wsol_mm.visualization.pipeline_geometry import PipelineGeometry, coordinate_image, fit_affine

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

WIDTH, HEIGHT = 200, 150
RESIZE = dict(type='Resize', scale=(96, 96), backend='pillow')
FLIP = dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical'])
MOVES = [
    dict(type='Rotate', angle=20.0, prob=0.7, pad_val=0),
    dict(type='Shear', magnitude=0.2, prob=0.7, pad_val=0, direction='vertical'),
    dict(type='Translate', magnitude=0.1, prob=0.7, pad_val=0),
]
COLOURS = [
    dict(type='Brightness', magnitude=-0.3, prob=0.7),
    dict(type='Contrast', magnitude=0.3, prob=0.7),
    dict(type='ColorJitter', brightness=0.2, contrast=0.2),
]
PIPELINES = {
    'ts-cam': [RESIZE, dict(type='RandomCrop', crop_size=80), FLIP],
    'resized crop': [
        dict(type='RandomResizedCrop', scale=96, crop_ratio_range=(0.3, 1), backend='pillow'),
        FLIP,
    ],
    'centre crop': [dict(type='ResizeEdge', scale=96), dict(type='CenterCrop', crop_size=80)],
    'padded crop': [RESIZE, dict(type='RandomCrop', crop_size=96, padding=8)],
    'ten crops': [RESIZE, dict(type='TenCrop', crop_size=80)],
    'augmented': [
        RESIZE,
        dict(type='RandAugment', policies=MOVES + COLOURS, num_policies=3, magnitude_level=9),
    ],
    'containers': [
        RESIZE,
        dict(type='RandomChoice', transforms=[MOVES[:1], [FLIP, *COLOURS]]),
        dict(type='RandomApply', transforms=MOVES[1:], prob=0.5),
    ],
    'colours': [RESIZE, *COLOURS, dict(type='GaussianBlur', radius=1, prob=0.5)],
}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('wsol_mm')


def compose(steps):
    return Compose([TRANSFORMS.build(dict(step)) for step in steps])


def loaded(image):
    return dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])


def blob(x, y):
    """A soft spot: its centre of mass is where the transforms put (x, y)."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[int(y) - 4 : int(y) + 4, int(x) - 4 : int(x) + 4] = 255
    return cv2.GaussianBlur(image, (0, 0), 2)


def centre_of_mass(image):
    weight = np.maximum(image.astype(float).mean(axis=2) - 40, 0)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


@pytest.mark.parametrize('name', PIPELINES)
def test_box_goes_where_the_object_goes(name):
    pipeline, geometry = compose(PIPELINES[name]), PipelineGeometry()
    geometry.follow(pipeline)
    random.seed(0)
    np.random.seed(0)
    checked = 0
    for _ in range(25):
        x, y = np.random.randint(50, 150), np.random.randint(40, 110)
        geometry.reset()
        image = pipeline(loaded(blob(x, y)))['img']
        image = image[4].transpose(1, 2, 0) if image.ndim == 4 else image
        assert geometry.problem is None
        (corners,) = geometry.boxes_in_input(np.array([[x - 8, y - 8, x + 8, y + 8]]))
        if (corners < 0).any() or (corners > np.array(image.shape[1::-1])).any():
            continue  # cut, so that its centre of mass says nothing
        checked += 1
        assert np.abs(corners.mean(axis=0) - centre_of_mass(image)).max() < 0.75
    assert checked >= 8


def test_the_pipeline_draws_the_same_numbers_as_without_observation():
    plain, followed = compose(PIPELINES['augmented']), compose(PIPELINES['augmented'])
    PipelineGeometry().follow(followed)
    outputs = []
    for pipeline in (plain, followed):
        random.seed(3)
        np.random.seed(3)
        outputs.append([pipeline(loaded(blob(100, 70)))['img'] for _ in range(5)])
    assert np.array_equal(*outputs)


@pytest.mark.parametrize('size', [(500, 334), (96, 96), (48, 40), (1200, 900)])
def test_resize_is_found_to_a_tenth_of_a_pixel(size):
    pipeline, geometry = compose([RESIZE]), PipelineGeometry()
    geometry.follow(pipeline)
    pipeline(loaded(np.zeros((size[1], size[0], 3), np.uint8)))
    (corners,) = geometry.boxes_in_input(np.array([[0, 0, *size]]))
    assert np.abs(corners - [(0, 0), (96, 0), (96, 96), (0, 96)]).max() < 0.15


class Warp:
    """Not affine."""

    def __call__(self, results):
        points = np.float32([[0, 0], [96, 0], [96, 96], [0, 96]])
        matrix = cv2.getPerspectiveTransform(points, np.float32([[0, 0], [96, 0], [60, 96], [36, 96]]))
        results['img'] = cv2.warpPerspective(results['img'], matrix, (96, 96))
        return results


class Darken:
    """Changes colours, and is not known to do just that."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, results):
        mean = results['img'].mean()
        results['img'] = np.clip(mean + self.factor * (results['img'] - mean), 0, 255).astype(np.uint8)
        return results


class Views:
    def __call__(self, results):
        results['img'] = [results['img'], results['img']]
        return results


@pytest.mark.parametrize('transform', [Warp(), Darken(0.7), Darken(1.05), Darken(1.5), Views()])
def test_no_box_where_the_geometry_is_in_doubt(transform):
    pipeline, geometry = compose([RESIZE]), PipelineGeometry()
    pipeline.transforms.append(transform)
    geometry.follow(pipeline)
    pipeline(loaded(blob(100, 70)))
    assert geometry.problem == type(transform).__name__
    assert geometry.boxes_in_input(np.array([[0, 0, 9, 9]])) is None
    geometry.reset()
    assert geometry.problem is None


def test_too_little_left_of_the_image():
    ramps = coordinate_image(50, 50).astype(float)
    assert fit_affine(ramps[:5, :5], ramps[:5, :5], (50, 50)) is None
