"""Tests of wsol_mm.utils.model_image_size."""

from pathlib import Path

from wsol_mm.utils.config_settings import load_config, merge_options
from wsol_mm.utils.model_image_size import model_image_size, use_model_image_size

import pytest
from mmengine.config import Config

CONFIGS = Path(__file__).parents[2] / 'configs'
DINOV2 = dict(type='TimmBackbone', model_name='vit_small_patch14_dinov2.lvd142m')


def config(model, scale='model'):
    steps = [dict(type='Resize', scale=scale), dict(type='RandomCrop', crop_size='model')]
    loader = dict(dataset=dict(type='CachedFeatures', dataset=dict(pipeline=steps)))
    return Config(dict(model=model, train_dataloader=loader, val_dataloader=None))


@pytest.mark.parametrize(
    ('model', 'size'),
    [
        (dict(backbone=DINOV2), (518, 518)),
        (dict(backbone={**DINOV2, 'img_size': (224, 448)}), (224, 448)),
        (dict(backbone=dict(type='TokenVisionTransformer', arch='vit-tiny', img_size=96)), (96, 96)),
        (
            dict(classifier=dict(type='TimmClassifier', model_name='inception_v3.tv_in1k', pretrained=True)),
            (299, 299),
        ),
        (
            dict(
                classifier=dict(type='TorchvisionClassifier', model_name='inception_v3', init_weights=False)
            ),
            (299, 299),
        ),
    ],
)
def test_the_size_is_that_of_the_network(model, size):
    assert model_image_size(Config(dict(model=model))) == size


def test_pipelines_get_it():
    cfg = config(dict(backbone={**DINOV2, 'img_size': (224, 448)}), 'model * 8/7')
    use_model_image_size(cfg)
    resize, crop = cfg.train_dataloader.dataset.dataset.pipeline
    assert resize.scale == (512, 256)  # width first
    assert crop.crop_size == (224, 448)


def test_options_decide_and_a_size_stays():
    path = str(CONFIGS / 'cam' / 'cam_resnet50_ilsvrc_no-training.py')
    options = {'model.classifier.model_name': 'inception_v3.tv_in1k', 'model.classifier.pretrained': False}
    for given, size in (({}, (224, 224)), (options, (299, 299))):
        cfg = load_config(path, given)
        assert cfg.test_dataloader.dataset.pipeline[1].scale == size
    merge_options(cfg, {'model.classifier.model_name': 'no such model'})  # nothing asks any more
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (299, 299)


def test_what_is_not_known_is_named():
    with pytest.raises(
        ValueError, match=r"Resize.scale: expected a size or one of \('model', .*, got 'large'"
    ):
        use_model_image_size(config(dict(backbone=DINOV2), 'large'))
    with pytest.raises(
        ValueError, match='model.backbone: expected a network that knows .*, got ResNet: give'
    ):
        use_model_image_size(config(dict(backbone=dict(type='mmpretrain.ResNet', depth=18))))
