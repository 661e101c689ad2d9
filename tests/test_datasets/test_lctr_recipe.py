"""Tests of the pipelines of LCTR's configs (docs/specifications/lctr.md, section 6.3) and of its loader."""

from wsol_mm.registry import DATA_SAMPLERS, TRANSFORMS

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DefaultScope

#: Operations of rand-m9-mstd0.5-inc1, with what a magnitude of 10 means.
OPERATIONS = {
    ('AutoContrast', None): None,
    ('Equalize', None): None,
    ('Invert', None): None,
    ('Rotate', None): (0, 30),
    ('Posterize', None): (4, 0),
    ('Solarize', None): (256, 0),
    ('SolarizeAdd', None): (0, 110),
    ('ColorTransform', None): (0, 0.9),
    ('Contrast', None): (0, 0.9),
    ('Brightness', None): (0, 0.9),
    ('Sharpness', None): (0, 0.9),
    ('Shear', 'horizontal'): (0, 0.3),
    ('Shear', 'vertical'): (0, 0.3),
    ('Translate', 'horizontal'): (0, 0.45),
    ('Translate', 'vertical'): (0, 0.45),
}


@pytest.fixture(params=['cub', 'ilsvrc'])
def cfg(request, repo_dir) -> Config:
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        yield Config.fromfile(repo_dir / f'configs/lctr/lctr_deit-s_{request.param}.py')


def test_operations_and_magnitudes(cfg):
    (settings,) = [step for step in cfg.train_dataloader.dataset.pipeline if step.type == 'RandAugment']
    augment = TRANSFORMS.build(settings)
    assert (augment.num_policies, augment.magnitude_level, augment.total_level) == (2, 9, 10)
    found = {}
    for operation in augment.transforms:
        key = type(operation).__name__, getattr(operation, 'direction', None)
        found[key] = operation.magnitude_range
        assert operation.prob == 0.5
        if operation.magnitude_range is not None:
            assert (operation.magnitude_level, operation.magnitude_std) == (9, 0.5)
        if hasattr(operation, 'interpolation'):
            assert operation.interpolation == 'bicubic' and operation.pad_val == (104, 116, 124)
    assert found == OPERATIONS


@pytest.mark.parametrize('operation', ['Posterize', 'Solarize', 'SolarizeAdd'])
@pytest.mark.parametrize('magnitude', [0.0, 4.99, 7.5, 8.73, 9.31, 10.0])
def test_fractional_magnitudes_act_as_truncated_ones(operation, magnitude):
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    transform = TRANSFORMS.build(
        dict(
            type=operation,
            magnitude_range=OPERATIONS[operation, None],
            magnitude_level=magnitude,
            total_level=10,
            prob=1.0,
        )
    )
    found = transform(dict(img=image.copy()))['img'].astype(int)
    values = image.astype(int)
    if operation == 'Posterize':
        bits = 4 - int(4 * magnitude / 10)
        expected = values >> (8 - bits) << (8 - bits)
    elif operation == 'Solarize':
        expected = np.where(values < 256 - int(256 * magnitude / 10), values, 255 - values)
    else:
        raised = np.minimum(values + int(110 * magnitude / 10), 255)
        expected = np.where(values < 128, raised, values)
    np.testing.assert_array_equal(found, expected)


def test_training_images(cfg):
    pipeline = Compose([TRANSFORMS.build(step) for step in cfg.train_dataloader.dataset.pipeline[1:]])
    image = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    for _ in range(20):
        data = dict(img=image.copy(), img_shape=(90, 130), ori_shape=(90, 130), gt_label=3)
        packed = pipeline(data)
        assert packed['inputs'].shape == (3, 224, 224)
        assert packed['data_samples'].gt_label.item() == 3


def test_loader(cfg):
    loader = cfg.train_dataloader
    assert loader.drop_last
    # The runner passes the data set and its own seed, which must not replace that of the sampler.
    sampler = DATA_SAMPLERS.build(loader.sampler, default_args=dict(dataset=range(600), seed=12345))
    assert sampler.seed == 0 and len(sampler) == 512
    assert not cfg.val_dataloader.sampler.shuffle and cfg.val_dataloader.sampler.type == 'DefaultSampler'


def test_one_validation_after_the_last_epoch(cfg):
    assert cfg.train_cfg.val_interval == cfg.train_cfg.max_epochs == cfg.param_scheduler[0].epochs
