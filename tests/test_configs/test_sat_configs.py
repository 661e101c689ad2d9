"""What the variants of SAT's configs change."""

import math
from pathlib import Path

import wsol_mm  # noqa: F401
from wsol_mm.registry import MODELS

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

CONFIG_DIR = Path(__file__).resolve().parents[2] / 'configs' / 'sat'


@pytest.mark.parametrize('shots', [1, 3, 5, 10])
def test_few_shot_configs(shots):
    cfg = Config.fromfile(CONFIG_DIR / f'sat_deit-s_ilsvrc_{shots}-shot.py')
    full = Config.fromfile(CONFIG_DIR / 'sat_deit-s_ilsvrc.py')
    assert cfg.train_dataloader.dataset.shots_per_class == shots
    assert 'shots_per_class' not in cfg.val_dataloader.dataset
    assert (cfg.model, cfg.optim_wrapper) == (full.model, full.optim_wrapper)
    assert cfg.train_cfg.max_epochs * math.ceil(1000 * shots / 512) == pytest.approx(2502, rel=2e-3)
    assert cfg.train_cfg.max_epochs % cfg.train_cfg.val_interval == 0
    assert cfg.default_hooks.checkpoint.interval == cfg.train_cfg.val_interval


def test_frozen_config():
    cfg = Config.fromfile(CONFIG_DIR / 'sat_deit-s_ilsvrc_frozen.py')
    with DefaultScope.overwrite_default_scope('wsol_mm'), torch.device('meta'):
        model = MODELS.build({**cfg.model, 'pretrained': None, 'data_preprocessor': None})
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    layers = {name.split('.')[2] for name in trained if name.startswith('backbone.layers.')}
    assert layers == {'9', '10', '11'}
    assert {'backbone.spatial_token', 'backbone.spatial_pos_embed'} < trained
    assert not trained & {'backbone.cls_token', 'backbone.pos_embed'}
    assert {name for name in trained if name.startswith('head.')} == {
        'head.semantic_conv.weight',
        'head.semantic_conv.bias',
    }


@pytest.mark.parametrize('name', ['dogs', 'cars', 'aircraft', 'openimages'])
def test_other_data_sets_have_the_recipe_of_cub(name):
    cfg, cub = (Config.fromfile(CONFIG_DIR / f'sat_deit-s_{data}.py') for data in (name, 'cub'))
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'auto_scale_lr', 'randomness'):
        assert cfg[key] == cub[key], key
    assert cfg.train_dataloader.batch_size == cub.train_dataloader.batch_size
    assert cfg.model.head.area_loss == cub.model.head.area_loss
    assert {transform.type for transform in cfg.train_dataloader.dataset.pipeline} == {
        transform.type for transform in cub.train_dataloader.dataset.pipeline
    }
    if name != 'openimages':
        assert cfg.val_evaluator == cub.val_evaluator and cfg.test_evaluator == cub.test_evaluator
        assert cfg.test_dataloader.dataset.pipeline == cub.val_dataloader.dataset.pipeline
