"""A model that finds what is bright, with a config and a checkpoint."""

from pathlib import Path
from typing import NamedTuple

from wsol_mm.registry import MODELS

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

CLASSES = ('dark', 'grey', 'bright')
CONFIG = """
default_scope = 'wsol_mm'
pipeline = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(40, 40), interpolation='bilinear', backend='pillow'),
    dict(type='CenterCrop', crop_size=32),
    dict(type='PackLocalizationInputs'),
]
test_dataloader = dict(dataset=dict(type='CUB', pipeline=pipeline))
default_hooks = dict(visualization=dict(protocol=dict(name='ts_cam', thresholds=[0.5])))
model = dict(
    type='ImageLocalizer',
    pretrained='/no/such/file.pth',
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(
        type='TokenVisionTransformer',
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
        img_size=32,
        patch_size=4,
    ),
    head=dict(type='TSCAMHead', num_classes=3, in_channels=16),
)
"""


class SmallModel(NamedTuple):
    """A config and a checkpoint of random weights."""

    config: Path
    checkpoint: Path


def save_weights(cfg: Config, path: Path, classes: tuple[str, ...] | None = CLASSES) -> None:
    """Write random weights for the model of a config, as training does."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        model = MODELS.build({**cfg.model, 'pretrained': None})
    meta = {} if classes is None else {'dataset_meta': {'classes': classes}}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, path)


@pytest.fixture(scope='session')
def small_model(tmp_path_factory) -> SmallModel:
    """Write config and checkpoint, once."""
    folder = tmp_path_factory.mktemp('small model')
    config = folder / 'small.py'
    config.write_text(CONFIG)
    save_weights(Config.fromfile(config), folder / 'small.pth')
    return SmallModel(config, folder / 'small.pth')
