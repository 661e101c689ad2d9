"""TenCrop against torchvision's, and the pipelines with it."""

import wsol_mm  # noqa: F401
from wsol_mm.registry import DATASETS, MODELS, TRANSFORMS
from wsol_mm.structures import CENTER_CROP

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as F  # noqa: N812
from mmengine.config import Config
from mmengine.dataset import Compose, default_collate, pseudo_collate


@pytest.mark.parametrize(
    ('height', 'width', 'crop'), [(30, 40, 20), (31, 41, (20, 18)), (33, 24, (24, 20)), (24, 24, 24)]
)
def test_crops_are_those_of_torchvision(height, width, crop):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    transform = TRANSFORMS.build(dict(type='TenCrop', crop_size=crop))
    results = transform(dict(img=image))
    sides = (crop, crop) if isinstance(crop, int) else crop
    expected = F.ten_crop(torch.from_numpy(image.transpose(2, 0, 1)), sides[::-1])
    np.testing.assert_array_equal(results['img'], torch.stack(expected).numpy())
    assert results['img'].flags.c_contiguous and results['img_shape'] == sides[::-1]
    centre = TRANSFORMS.build(dict(type='CenterCrop', crop_size=sides))(dict(img=image))
    np.testing.assert_array_equal(results['img'][CENTER_CROP], centre['img'].transpose(2, 0, 1))
    assert repr(transform) == f'TenCrop(crop_size={sides})'


@pytest.mark.parametrize('crop', [0, -3, 2.5 * 2, (1, 2, 3), (4, 'x')])
def test_wrong_sizes(crop):
    if isinstance(crop, float):
        crop = (crop, crop)
    with pytest.raises(ValueError, match='crop_size: expected an integer from 1 or .*, got'):
        TRANSFORMS.build(dict(type='TenCrop', crop_size=crop))


@pytest.mark.parametrize('shape', [(19, 40, 3), (40, 19, 3), (40, 40), (40, 40, 4)])
def test_wrong_images(shape):
    transform = TRANSFORMS.build(dict(type='TenCrop', crop_size=20))
    with pytest.raises(ValueError, match=r'a\.jpg: expected .*at least 20x20.*, got the shape'):
        transform(dict(img=np.zeros(shape, np.uint8), img_path='a.jpg'))


def test_packing():
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    pipeline = Compose([dict(type='TenCrop', crop_size=16), dict(type='PackLocalizationInputs')])
    packed = pipeline(dict(img=image, ori_shape=(48, 72), img_shape=(24, 24), scale_factor=(1 / 3, 0.5)))
    assert packed['inputs'].shape == (10, 3, 16, 16) and packed['inputs'].dtype == torch.uint8
    np.testing.assert_array_equal(packed['inputs'][CENTER_CROP], image[4:20, 4:20].transpose(2, 0, 1))
    sample = packed['data_samples']
    assert (sample.img_shape, sample.ori_shape, sample.scale_factor) == ((16, 16), (48, 72), (1 / 3, 0.5))


@pytest.mark.parametrize('collate', [default_collate, pseudo_collate])
def test_normalisation_of_crops_is_that_of_images(collate):
    settings = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=True)
    ours = MODELS.build(dict(type='LocalizationDataPreprocessor', **settings))
    parent = MODELS.build(dict(type='ClsDataPreprocessor', **settings))
    crops = torch.randint(0, 256, (2, 10, 3, 8, 8), dtype=torch.uint8)
    found = ours(collate([dict(inputs=item) for item in crops]))
    assert found['data_samples'] is None and found['inputs'].shape == crops.shape
    for i, item in enumerate(crops):
        torch.testing.assert_close(found['inputs'][i], parent(dict(inputs=item))['inputs'], rtol=0, atol=0)
    images = collate([dict(inputs=item) for item in crops[0]])
    torch.testing.assert_close(ours(images)['inputs'], parent(images)['inputs'], rtol=0, atol=0)


def test_base_configs(repo_dir, cub_root):
    folder = repo_dir / 'configs/_base_/pipelines'
    single, crops = (
        DATASETS.build(
            dict(type='CUB', data_root=str(cub_root), split='test', test_mode=True, pipeline=pipeline)
        )[0]
        for pipeline in (
            Config.fromfile(folder / 'squash-crop_224.py').squash_crop_224,
            Config.fromfile(folder / 'ten-crop_224.py').ten_crop_224,
        )
    )
    assert crops['inputs'].shape == (10, 3, 224, 224)
    torch.testing.assert_close(crops['inputs'][CENTER_CROP], single['inputs'], rtol=0, atol=0)
    assert crops['data_samples'].metainfo == single['data_samples'].metainfo
    assert crops['data_samples'].img_shape == (224, 224)
