"""Tests of wsol_mm.models.heads.bas_head."""

from copy import deepcopy

import wsol_mm  # noqa: F401
from wsol_mm.models.heads import BASHead
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from mmpretrain.structures import DataSample
from torch import nn

LABELS = torch.tensor([1, 4, 0])
SAMPLES = [DataSample().set_gt_label(int(label)) for label in LABELS]
MOBILENET_STRIDES = (2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1)
#: Small networks with all parts of the published ones, and the channels of their feature maps.
NETWORKS = {
    'vgg': (
        dict(type='VGG16', pools=('max2', 'max2', 'max2', None), base_channels=4),
        dict(type='VGGBackEnd'),
        32,
    ),
    'inception': (dict(type='InceptionV3', output_stride=8), dict(type='InceptionBackEnd'), 768),
    'resnet': (
        dict(
            type='mmpretrain.ResNet',
            depth=18,
            num_stages=3,
            strides=(1, 2, 1),
            dilations=(1, 1, 1),
            out_indices=(2,),
        ),
        dict(type='ResNetBackEnd', depth=18),
        256,
    ),
    'mobilenet': (
        dict(type='MobileNetV1', strides=MOBILENET_STRIDES, width=0.125),
        dict(type='MobileNetBackEnd'),
        64,
    ),
}


def build_head(**options) -> BASHead:
    torch.manual_seed(0)
    settings = dict(num_classes=5, in_channels=8, back_end=dict(type='MobileNetBackEnd'), hidden_channels=6)
    return BASHead(**{**settings, **options}).double()


@pytest.fixture
def feats() -> Features:
    torch.manual_seed(1)
    return Features(torch.rand(3, 8, 6, 4, dtype=torch.float64, requires_grad=True))


def explicit_losses(head: BASHead, feature_map: torch.Tensor) -> dict[str, torch.Tensor]:
    """The losses as the authors compute them: all maps of all classes, and a copy of the weights."""
    copy = deepcopy(head).requires_grad_(False)
    picked = torch.arange(3), LABELS
    maps = F.conv2d(feature_map, head.generator.weight, head.generator.bias, padding=1).sigmoid()
    maps = maps[picked][:, None]
    class_maps = head.classifier(head.back_end(feature_map)).relu()
    logits = class_maps.mean(dim=(2, 3))
    background = copy.classifier(copy.back_end(feature_map.detach() * (1 - maps))).relu().mean(dim=(2, 3))
    ratio = background[picked] / (logits[picked].detach() + 1e-8)
    ratio = ratio * (background[picked] < logits[picked])
    within = (class_maps * F.avg_pool2d(maps, 2)).mean(dim=(2, 3))
    return {
        'loss_cls': F.cross_entropy(logits, LABELS),
        'loss_guidance': 0.25 * F.cross_entropy(within, LABELS),
        'loss_background': ratio.mean(),
        'loss_area': 1.5 * maps.mean(),
    }


def test_losses_and_gradients_are_those_of_the_explicit_form(feats):
    head = build_head(guidance_weight=0.25, background_loss=dict(area_weight=1.5)).train()
    statistics = deepcopy(head.back_end).train()
    expected = explicit_losses(head, feats.feature_map)
    sources = [feats.feature_map, *head.parameters()]
    wanted = torch.autograd.grad(sum(expected.values()), sources)
    head.back_end.load_state_dict(statistics.state_dict())
    losses = head.loss(feats, SAMPLES)
    assert set(losses) == {*expected, 'accuracy_top-1'}
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    found = torch.autograd.grad(sum(losses[name] for name in expected), sources)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
    assert losses['loss_background'] > 0


def test_masked_features_leave_the_running_statistics_alone(feats):
    head = build_head().train()
    once = deepcopy(head.back_end)
    once(feats.feature_map)
    head.loss(feats, SAMPLES)
    assert head.back_end.model[0][1].num_batches_tracked == 1
    for name, value in once.state_dict().items():
        torch.testing.assert_close(head.back_end.state_dict()[name], value)


def test_background_teaches_the_generator_alone(feats):
    head = build_head().train()
    head.loss(feats, SAMPLES)['loss_background'].backward()
    learning = {
        name for name, value in head.named_parameters() if value.grad is not None and value.grad.any()
    }
    assert learning == {'generator.weight', 'generator.bias'}
    # Through the map: the features themselves are masked without a gradient.
    assert feats.feature_map.grad.any()
    unlabelled = [c for c in range(5) if c not in LABELS]
    assert not head.generator.weight.grad[unlabelled].any()


def test_without_guidance(feats, monkeypatch):
    head = build_head(guidance_weight=0.0)
    monkeypatch.setattr(head, 'foreground_logits', None)
    assert 'loss_guidance' not in head.loss(feats, SAMPLES)


@pytest.mark.parametrize('map_classes', [1, 3, None])
def test_localization_maps(feats, map_classes):
    head = build_head(map_classes=map_classes).eval()
    maps = head.generator(feats.feature_map).sigmoid()
    assert head.class_agnostic == (map_classes != 1)
    best = head(feats).topk(3).indices
    expected = {
        1: maps[torch.arange(3)[:, None], best[:, :2]],
        3: torch.stack(
            [one[classes].mean(dim=0, keepdim=True) for one, classes in zip(maps, best, strict=True)]
        ),
        None: maps.mean(dim=1, keepdim=True),
    }
    torch.testing.assert_close(head.localization_maps(feats, best[:, :2]), expected[map_classes])
    samples = head.predict(feats, SAMPLES)
    if map_classes == 1:
        assert samples[0].loc_labels.tolist() == [1, *head(feats)[0].topk(5).indices]
    else:
        assert samples[0].loc_labels.tolist() == [-1] and samples[0].loc_maps.shape == (1, 6, 4)


def test_a_prediction_runs_the_back_end_once_and_masks_nothing(feats, monkeypatch):
    head, calls = build_head(map_classes=2).eval(), []
    head.back_end.register_forward_hook(lambda *_: calls.append(1))
    monkeypatch.setattr(head, 'background_scores', None)
    head.predict(feats, SAMPLES)
    assert len(calls) == 1


def test_without_back_end_any_grid_will_do():
    head = BASHead(num_classes=5, in_channels=8, hidden_channels=6)
    feats = Features(torch.rand(3, 8, 5, 3))
    assert head.class_maps(feats).shape == (3, 5, 5, 3)
    losses = head.loss(feats, SAMPLES)
    maps = head.foreground_maps(feats, LABELS[:, None])
    within = (head.class_maps(feats) * maps).mean(dim=(2, 3))
    torch.testing.assert_close(losses['loss_guidance'], 0.5 * F.cross_entropy(within, LABELS))


def test_initialisation():
    for conv_init, number in (('xavier', (2 / (8 * 9 + 40 * 9)) ** 0.5), ('normal', 0.02)):
        head = BASHead(num_classes=40, in_channels=8, back_end=dict(type='VGGBackEnd'), conv_init=conv_init)
        before = head.classifier[0].bias.clone()
        head.init_weights()
        torch.testing.assert_close(head.generator.weight.std().item(), number, rtol=0.05, atol=0)
        bias = head.classifier[0].bias
        assert bias.eq(0).all() if conv_init == 'xavier' else bias.equal(before)
        assert (head.back_end.conv5_2.weight.abs().max() > 0.1) == (conv_init == 'xavier')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(map_classes=0), 'map_classes: expected None or a number from 1 to 5, got 0'),
        (dict(map_classes=6), 'map_classes: expected None or a number from 1 to 5, got 6'),
        (dict(guidance_weight=-1), 'guidance_weight: expected a number from 0, got -1'),
        (dict(conv_init='he'), r"conv_init: expected one of \('xavier', 'normal'\), got 'he'"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        build_head(**options)


@pytest.mark.parametrize('network', NETWORKS)
def test_networks(network):
    backbone, back_end, channels = NETWORKS[network]
    torch.manual_seed(0)
    head = dict(type='BASHead', num_classes=5, in_channels=channels, back_end=back_end, hidden_channels=8)
    model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head))
    images = torch.randn(3, 3, 64, 48)
    losses = model.train()(images, SAMPLES, mode='loss')
    sum(value for name, value in losses.items() if name.startswith('loss')).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    with torch.no_grad():
        sample = model.eval()(images, SAMPLES, mode='predict')[0]
        feats = model.extract_feat(images)
    assert feats.grid == (8, 6) and head_grid(model, feats) == (4, 3)
    assert sample.loc_maps.shape == (6, 8, 6) and sample.loc_labels[0] == 1


def head_grid(model: nn.Module, feats: Features) -> tuple[int, int]:
    return tuple(model.head.class_maps(feats).shape[-2:])
