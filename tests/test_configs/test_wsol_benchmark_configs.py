"""Recipes of the WSOL benchmark (docs/specifications/cnn_baselines.md, sections 2, 6 and 7)."""

from pathlib import Path

import wsol_mm  # noqa: F401
from tests.parity.models import build_optimizer, rates_of
from wsol_mm.registry import MODELS

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

CONFIG_DIR = Path(__file__).resolve().parents[2] / 'configs'
NETWORKS = ('vgg16', 'resnet50', 'inceptionv3')
#: Learning rates on CUB, in the order of the networks.
CUB_RATES = {
    'cam': (0.00001268269, 0.00023222617, 0.00224844746),
    'has': (0.00142891848, 0.00361996526, 0.01400558066),
    'acol': (0.00010569582, 0.00001700073, 0.00658832165),
    'spg': (0.00012558923, 0.00004521947, 0.0003360682),
    'adl': (0.00002430601, 0.01253438325, 0.00038655054),
    'cutmix': (0.00003220934, 0.0003333722, 0.00225171726),
}
ILSVRC_RATES = (0.00001654502, 0.00003108411, 0.0003606503)
#: The documented one of VGG16, and CAM's on CUB.
OPENIMAGES_RATES = (0.00227913316, *CUB_RATES['cam'][1:])
#: HaS: side of a cell, rate. ACoL: threshold. SPG: three pairs of thresholds. ADL: threshold, rate. CutMix:
#: beta, probability.
OPTIONS = {
    'cam': ((), (), ()),
    'has': ((4, 0.47), (120, 0.66), (170, 0.26)),
    'acol': (0.89, 0.57, 0.79),
    'spg': (
        ((0.29, 0.23), (0.03, 0.02), (0.82, 0.59)),
        ((0.41, 0.35), (0.24, 0.21), (0.12, 0.08)),
        ((0.28, 0.02), (0.17, 0.03), (0.47, 0.31)),
    ),
    'adl': ((0.72, 0.33), (0.76, 0.24), (0.86, 0.69)),
    'cutmix': ((0.85, 0.79), (1.35, 0.24), (0.04, 0.30)),
}
METHODS = tuple(OPTIONS)
CLASSES = {'cub': 200, 'ilsvrc': 1000, 'openimages': 100}


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        yield


def load(method: str, network: str, data: str = 'cub') -> Config:
    return Config.fromfile(CONFIG_DIR / method / f'{method}_{network}_{data}.py')


def build(cfg: Config) -> torch.nn.Module:
    """Return a model without storage. ResNet computes with numbers when it is built."""
    with torch.device('cpu' if cfg.model.backbone.type == 'mmpretrain.ResNet' else 'meta'):
        model = MODELS.build({**cfg.model, 'pretrained': None, 'data_preprocessor': None})
    return model.to('meta')


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('method', METHODS)
def test_values(method, network):
    place = NETWORKS.index(network)
    rates = {'cub': CUB_RATES[method], 'ilsvrc': ILSVRC_RATES, 'openimages': OPENIMAGES_RATES}
    for data, classes in CLASSES.items():
        cfg = load(method, network, data)
        assert cfg.optim_wrapper.optimizer == dict(
            type='SGD',
            lr=pytest.approx(rates[data][place], rel=1e-12),
            momentum=0.9,
            nesterov=True,
            weight_decay=1e-4 if network == 'resnet50' else 5e-4,
        )
        assert cfg.train_dataloader.batch_size == 32 and cfg.auto_scale_lr.base_batch_size == 32
        assert cfg.model.head.num_classes == classes
        assert own_options(method, cfg.model) == OPTIONS[method][place]


def own_options(method: str, model: Config) -> tuple | float:
    """Return what a method adds to CAM, in the form of OPTIONS."""
    augments, inserts = model.get('train_cfg', {}).get('augments'), model.get('inserts', [])
    heads = {'acol': 'ACoLHead', 'spg': 'SPGHead'}
    assert model.head.type == heads.get(method, 'CAMHead')
    assert (augments or {}).get('type') == {'has': 'HideAndSeek', 'cutmix': 'CutMix'}.get(method)
    assert [insert.type for insert in inserts] == (['AttentionDropout'] if method == 'adl' else [])
    return {
        'cam': lambda: (),
        'has': lambda: (augments.grid_size, augments.drop_rate),
        'cutmix': lambda: (augments.alpha, model.train_cfg.probs),
        'adl': lambda: (inserts[0].threshold, inserts[0].drop_rate),
        'acol': lambda: model.head.erase_threshold,
        'spg': lambda: model.head.guidance.thresholds,
    }[method]()


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('method', METHODS)
def test_learning_rates(method, network):
    """The table of section 7; what the reference calls by other names is written out."""
    cfg = load(method, network)
    model = build(cfg)
    groups = build_optimizer(model, cfg, 1.0).optimizer.param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {names[id(parameter)]: group['lr'] for group in groups for parameter in group['params']}
    assert rates.keys() == dict(model.named_parameters()).keys()
    assert {group['weight_decay'] for group in groups} == {1e-4 if network == 'resnet50' else 5e-4}
    fast = {
        'vgg16': ('head.', 'backbone.conv4_', 'backbone.conv5_') if method == 'spg' else ('head.',),
        'resnet50': ('backbone.layer4.', 'head.fc.'),
        'inceptionv3': ('head.',),
    }[network]
    assert rates == {name: 10 if name.startswith(fast) else 1 for name in rates}
    for start in fast:  # ACoL and SPG have no linear classifier
        there = any(name.startswith(start) for name in rates)
        assert there or (start, method) in (('head.fc.', 'acol'), ('head.fc.', 'spg'))
    for data in CLASSES:
        assert load(method, network, data).optim_wrapper.paramwise_cfg == cfg.optim_wrapper.paramwise_cfg


def test_schedules():
    """The rate falls when an epoch begins whose number, from 1, is a multiple of the frequency."""
    for data, epochs, frequency in (('cub', 50, 15), ('ilsvrc', 10, 3), ('openimages', 10, 3)):
        for method in METHODS:
            cfg = load(method, 'vgg16', data)
            assert cfg.train_cfg.max_epochs == epochs
            rates = rates_of(cfg.param_scheduler, 1.0, epochs)
            expected = [0.1 ** (epoch // frequency) for epoch in range(1, epochs + 1)]
            assert rates == pytest.approx(expected), (method, data)


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('method', METHODS)
def test_maps(method, network):
    """14x14 except on CUB with ResNet-50 and Inception v3; a variant of one line has the other size."""
    large = {
        'vgg16': dict(pools=larger_pools(load(method, 'vgg16').model.backbone.get('pools'))),
        'resnet50': dict(strides=(1, 2, 1, 1)),
        'inceptionv3': dict(output_stride=8),
    }[network]
    cub, ilsvrc, openimages = (load(method, network, data) for data in CLASSES)
    side = 14 if network == 'vgg16' else 28
    model = build(cub)
    assert map_shape(model) == (1, model.head.in_channels, side, side)
    assert ilsvrc.model.backbone == openimages.model.backbone
    model = build(openimages)
    assert map_shape(model) == (1, model.head.in_channels, 14, 14)
    openimages.model.backbone.update(large)
    assert map_shape(build(openimages)) == (1, model.head.in_channels, 28, 28)


def larger_pools(pools: tuple | None) -> tuple:
    """Return the pools of VGG16 without the step of the fourth, as the README of CAM says."""
    pools = list(pools or ('max2', 'max2', 'max2', 'max2', None))
    pools[3] = 'max3_same' if pools[0] == 'max3' else None
    return tuple(pools)


def map_shape(model: torch.nn.Module) -> tuple[int, ...]:
    feats = model.eval().extract_feat(torch.empty(1, 3, 224, 224, device='meta'), model.head.loss_needs)
    if type(model.head).__name__ == 'SPGHead':
        for branch, stage in zip(('b1', 'b2'), feats.stages, strict=True):
            assert getattr(model.head, branch)[0].in_channels == stage.shape[1]
    return tuple(feats.feature_map.shape)


@pytest.mark.parametrize('data', CLASSES)
def test_data_and_evaluation(data):
    cfg = load('cam', 'resnet50', data)
    steps = [(step.type, step.get('scale'), step.get('crop_size')) for step in pipeline(cfg, 'train')]
    assert steps == [
        ('LoadImageWithPillow', None, None),
        ('Resize', (256, 256), None),
        ('RandomCrop', None, 224),
        ('RandomFlip', None, None),
        ('PackLocalizationInputs', None, None),
    ]
    for split in ('val', 'test'):
        assert [step.scale for step in pipeline(cfg, split) if step.type == 'Resize'] == [(224, 224)]
        assert 'CenterCrop' not in [step.type for step in pipeline(cfg, split)]
    validation = {'cub': 'data/CUBV2', 'ilsvrc': 'data/ImageNetV2', 'openimages': 'data/OpenImages'}[data]
    assert cfg.val_dataloader.dataset.data_root == validation
    assert cfg.test_dataloader.dataset.get('split') == ('val' if data == 'ilsvrc' else 'test')
    assert cfg.train_dataloader.dataset.split == 'train' and not cfg.train_dataloader.get('drop_last')
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        if data == 'openimages':
            assert evaluator == dict(type='PixelAveragePrecision')
        else:
            assert evaluator.protocols == ['maxboxacc', 'maxboxacc_v2']
    for method in METHODS:
        for network in NETWORKS:
            other = load(method, network, data)
            for key in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'test_evaluator'):
                assert other[key] == cfg[key], (method, network, key)


def pipeline(cfg: Config, split: str) -> list:
    return cfg[f'{split}_dataloader'].dataset.pipeline
