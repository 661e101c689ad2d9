"""Images read again for pictures: orientation, damaged files, sizes."""

import wsol_mm.datasets  # noqa: F401
from wsol_mm.registry import TRANSFORMS
from wsol_mm.visualization import read_image

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from PIL import Image

LOADERS = [
    dict(type='LoadImageWithPillow'),
    dict(type='LoadImageWithPillow', apply_exif=True),
    dict(type='LoadImageFromFile'),
    dict(type='LoadImageFromFile', imdecode_backend='pillow'),
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
]


def through_pipeline(path, loader):
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        load, pack = TRANSFORMS.build(loader), TRANSFORMS.build(dict(type='PackLocalizationInputs'))
    packed = pack(load(dict(img_path=str(path), gt_label=0)))
    return packed['inputs'].numpy().transpose(1, 2, 0)[..., ::-1], packed['data_samples']


def write_turned(path, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.mark.parametrize('orientation', [1, 6])
@pytest.mark.parametrize('loader', LOADERS, ids=str)
def test_image_is_the_one_that_the_pipeline_saw(tmp_path, loader, orientation):
    seen, sample = through_pipeline(write_turned(tmp_path / 'a.png', orientation, (16, 8)), loader)
    np.testing.assert_array_equal(read_image(sample), seen)


@pytest.mark.parametrize('loader', LOADERS[:4], ids=str)
def test_squares_and_half_turns_follow_the_loader(tmp_path, loader):
    for orientation, size in ((6, (8, 8)), (3, (16, 8))):
        seen, sample = through_pipeline(write_turned(tmp_path / 'a.png', orientation, size), loader)
        np.testing.assert_array_equal(read_image(sample), seen)


def test_stand_in_is_black(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(b'no image')
    metainfo = dict(img_path=str(tmp_path / 'a.jpg'), ori_shape=(4, 6))
    with pytest.raises(
        ValueError, match='a.jpg: expected a usable image, got an unusable one: UnidentifiedImageError'
    ):
        read_image(DataSample(metainfo=metainfo))
    image = read_image(DataSample(metainfo=dict(**metainfo, load_error='truncated')))
    assert image.shape == (4, 6, 3) and not image.any()


def test_another_size_is_refused(tmp_path):
    Image.new('RGB', (6, 4)).save(tmp_path / 'a.png')
    sample = DataSample(metainfo=dict(img_path=str(tmp_path / 'a.png'), ori_shape=(4, 7)))
    with pytest.raises(ValueError, match=r'a.png: expected \(4, 7\) .*, got \(4, 6\)'):
        read_image(sample)
