"""The recipe of BAS (docs/specifications/cnn_baselines.md, sections B3 to B5)."""

from pathlib import Path

import wsol_mm  # noqa: F401
from tests.parity.models import build_optimizer, rates_of
from wsol_mm.evaluation import get_protocol
from wsol_mm.registry import MODELS

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

CONFIG_DIR = Path(__file__).resolve().parents[2] / 'configs' / 'bas'
#: Weight of the area, weight of the guidance, classes of the map and threshold.
SETTINGS = {
    'vgg16_cub': (0.7, 0.0, 80, 0.15),
    'resnet50_cub': (1.2, 0.5, 200, 0.15),
    'inceptionv3_cub': (1.0, 0.5, 200, 0.1),
    'mobilenetv1_cub': (1.5, 0.5, 200, 0.15),
    'vgg16_ilsvrc': (1.0, 0.05, 1, 0.5),
    'resnet50_ilsvrc': (2.0, 1.0, 1, 0.45),
    'inceptionv3_ilsvrc': (2.5, 1.0, 1, 0.3),
    'mobilenetv1_ilsvrc': (1.5, 0.5, 1, 0.5),
}
SIDES = {'vgg16': 512, 'resnet50': 2048, 'inceptionv3': 2048, 'mobilenetv1': 1024}


@pytest.fixture(params=SETTINGS)
def name(request):
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        yield request.param


def load(name: str) -> Config:
    return Config.fromfile(CONFIG_DIR / f'bas_{name}.py')


def build(cfg: Config) -> torch.nn.Module:
    return MODELS.build({**cfg.model, 'pretrained': None, 'data_preprocessor': None})


def test_settings(name):
    cfg = load(name)
    head = build(cfg).head
    loss = head.background_loss
    found = (loss.area_weight, head.guidance_weight, head.map_classes)
    assert found == SETTINGS[name][:3] and loss.keep_equal == name.endswith('ilsvrc')
    assert head.num_classes == (1000 if name.endswith('ilsvrc') else 200)
    assert head.conv_init == ('normal' if name.startswith('vgg') else 'xavier')
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        (protocol,) = evaluator.protocols
        protocol = dict(name=protocol) if isinstance(protocol, str) else protocol
        assert get_protocol(tuned_on=evaluator.tuned_on, **protocol).thresholds == (SETTINGS[name][3],)
    assert get_protocol(**cfg.default_hooks.visualization.protocol).thresholds == (SETTINGS[name][3],)


def test_grids(name):
    model = build(load(name)).eval().to('meta')
    feats = model.extract_feat(torch.empty(1, 3, 224, 224, device='meta'))
    assert feats.grid == (28, 28) and feats.feature_map.shape[1] == model.head.in_channels
    features = model.head.back_end(feats.feature_map)
    assert features.shape == (1, SIDES[name.split('_')[0]], 14, 14)


def test_learning_rates(name):
    cfg = load(name)
    model = build(cfg)
    wrapper = build_optimizer(model, cfg, 1.0)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    rates = {names[id(p)]: group['lr'] for group in wrapper.optimizer.param_groups for p in group['params']}
    decays = {group['weight_decay'] for group in wrapper.optimizer.param_groups}
    assert rates.keys() == dict(model.named_parameters()).keys() and decays == {5e-4}
    for key, rate in rates.items():
        own = 10 if key.startswith(('head.classifier.', 'head.generator.')) else 1
        assert rate == own * (2 if key.endswith('.bias') else 1), key


def test_schedules():
    for data, epochs, drops in (('cub', 100, (80,)), ('ilsvrc', 9, (3, 6))):
        cfg = load(f'resnet50_{data}')
        assert cfg.train_cfg.max_epochs == epochs and cfg.optim_wrapper.optimizer.lr == 1e-3
        rates = rates_of(cfg.param_scheduler, 1.0, epochs)
        assert rates == pytest.approx(
            [0.1 ** sum(epoch >= drop for drop in drops) for epoch in range(epochs)]
        )
