"""The test pipelines of configs, for images of which nothing is known."""

from wsol_mm.apis.inference_pipeline import (
    InferencePipeline,
    configured_transforms,
    whole_image_transforms,
)
from wsol_mm.datasets import UnreadableImage
from wsol_mm.evaluation.functional import ImageGeometry

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

LOAD, PACK = dict(type='LoadImageWithPillow'), dict(type='PackLocalizationInputs')
RESIZE = dict(type='Resize', scale=(48, 48), interpolation='bicubic', backend='pillow')


@pytest.fixture
def image(tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (30, 60, 3), np.uint8))
    return str(path)


@pytest.mark.parametrize(
    'config',
    [
        'sat/sat_deit-s_cub.py',
        'lctr/lctr_deit-s_cub.py',
        'ts_cam/ts-cam_deit-b-384_cub.py',
        'sat/sat_deit-s_openimages.py',
        'cdtr/cdtr_vit-t_folder.py',
        'ts_cam/ts-cam_vit-micro_shapes.py',
    ],
)
def test_configs_show_the_whole_image(repo_dir, image, config):
    cfg = Config.fromfile(repo_dir / 'configs' / config)
    item = InferencePipeline(whole_image_transforms(configured_transforms(cfg)))(image)
    sample = item['data_samples']
    geometry = ImageGeometry.from_metainfo(sample.metainfo)
    side = cfg.model.backbone.get('img_size', 224)
    assert geometry.image == (60, 30) and geometry.kind == 'squash'
    assert item['inputs'].shape == (3, side, side)


@pytest.mark.parametrize('crop', ['CenterCrop', 'TenCrop'])
def test_images_of_nothing_are_told(crop):
    pipeline = InferencePipeline([LOAD, dict(type=crop, crop_size=224), PACK])
    grey = np.full((240, 240, 3), 128, np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, grey.shape, np.uint8)
    blot = cv2.circle(grey.copy(), (100, 120), 30, (0, 200, 0), -1)
    told = [pipeline(image)['data_samples'].shows_nothing for image in (grey, noise, blot)]
    assert told == [True, True, False]


@pytest.mark.parametrize('crop', [dict(type='CenterCrop', crop_size=32), dict(type='TenCrop', crop_size=32)])
def test_crop_becomes_a_resize_like_the_one_before_it(crop):
    changed = whole_image_transforms([LOAD, RESIZE, crop, PACK])
    assert [step['type'] for step in changed] == ['LoadImageWithPillow', 'Resize', 'PackLocalizationInputs']
    assert changed[1] == dict(type='Resize', scale=(32, 32), interpolation='bicubic', backend='pillow')


def test_pipelines_that_cannot_be_changed():
    crop = dict(type='CenterCrop', crop_size=32)
    with pytest.raises(ValueError, match='expected one of .* before CenterCrop, .* got 0'):
        whole_image_transforms([LOAD, crop, PACK])
    with pytest.raises(ValueError, match='expected at most one of .*, got 2'):
        whole_image_transforms([LOAD, RESIZE, crop, crop, PACK])
    with pytest.raises(ValueError, match='expected one of .*, which load an image, got '):
        InferencePipeline([RESIZE, PACK])
    with pytest.raises(ValueError, match='test_dataloader.dataset.pipeline: expected .* got none'):
        configured_transforms(Config(dict(test_dataloader=None)))


def test_orientation_is_applied_to_whole_images_alone(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new('RGB', (60, 30), 'white').save(tmp_path / 'a.jpg', exif=exif)
    steps = [LOAD, RESIZE, PACK]
    whole = InferencePipeline(whole_image_transforms(steps))(str(tmp_path / 'a.jpg'))
    assert whole['data_samples'].ori_shape == (60, 30)
    assert InferencePipeline(steps)(str(tmp_path / 'a.jpg'))['data_samples'].ori_shape == (30, 60)


def test_errors_of_the_pipeline_stay(image):
    pipeline = InferencePipeline([LOAD, dict(type='TenCrop', crop_size=32), PACK])
    with pytest.raises(ValueError, match='at least 32x32') as caught:
        pipeline(image)
    assert not isinstance(caught.value, UnreadableImage)


def test_array_is_the_file(image):
    pipeline = InferencePipeline(whole_image_transforms([LOAD, RESIZE, PACK]))
    item, array_item = pipeline(image, 2), pipeline(cv2.imread(image), 2)
    assert (item['inputs'] == array_item['inputs']).all()
    assert array_item['data_samples'].gt_label.tolist() == [2]
    assert array_item['data_samples'].ori_shape == (30, 60)


@pytest.mark.parametrize(
    'array', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 0, 3), np.uint8)]
)
def test_arrays_that_are_no_images(array):
    with pytest.raises(ValueError, match='expected a BGR image'):
        InferencePipeline([LOAD, RESIZE, PACK])(array)
