"""Tests of wsol_mm.models.backbones.vgg16."""

from wsol_mm.models.backbones import VGG16

import pytest
import torch
import torch.nn.functional as F
from torch import nn

ACOL = ('max3', 'max3', 'max3', 'max3_same', ('max3_same', 'avg3_same'))


def plain(model: VGG16, x: torch.Tensor, pools) -> torch.Tensor:
    """VGG16 written down layer by layer."""
    for group, convs in enumerate((2, 2, 3, 3, 3), 1):
        for index in range(1, convs + 1):
            conv = getattr(model, f'conv{group}_{index}')
            x = F.conv2d(x, conv.weight, conv.bias, padding=1).relu()
        x = pools[group - 1](x)
    return x


def test_layers_of_cam():
    model = VGG16(base_channels=2)
    x = torch.randn(2, 3, 48, 80)
    two = lambda x: F.max_pool2d(x, 2)  # noqa: E731
    feats = model(x)
    torch.testing.assert_close(feats.feature_map, plain(model, x, [two] * 4 + [lambda x: x]))
    assert feats.feature_map.shape == (2, 16, 3, 5)
    assert feats.cls_token is None and model.gives == frozenset()


def test_layers_of_acol():
    model = VGG16(ACOL, base_channels=2)
    x = torch.randn(1, 3, 56, 56)
    three = lambda x: F.max_pool2d(x, 3, 2, 1)  # noqa: E731
    same = lambda x: F.max_pool2d(x, 3, 1, 1)  # noqa: E731
    last = lambda x: F.avg_pool2d(same(x), 3, 1, 1, count_include_pad=True)  # noqa: E731
    expected = plain(model, x, [three, three, three, same, last])
    torch.testing.assert_close(model(x).feature_map, expected)
    assert expected.shape[-2:] == (7, 7)


@pytest.mark.parametrize(
    ('pools', 'side', 'channels'),
    [
        (('max2', 'max2', 'max2', 'max2', None), 14, 64),
        (('max2', 'max2', 'max2', None, None), 28, 64),
        (('max3', 'max3', 'max3', 'max3', ('max3_same', 'avg3_same')), 14, 64),
        (('max2', 'max2', 'max2', None), 28, 64),  # four groups
        (('max2', 'max2', 'max2'), 28, 32),
    ],
)
def test_grids(pools, side, channels):
    assert VGG16(pools, base_channels=8)(torch.zeros(1, 3, 224, 224)).feature_map.shape == (
        1,
        channels,
        side,
        side,
    )


def test_channels_and_names():
    with torch.device('meta'):
        model = VGG16()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert len(shapes) == 26
    assert shapes['conv1_1.weight'] == (64, 3, 3, 3) and shapes['conv3_3.weight'] == (256, 256, 3, 3)
    assert shapes['conv4_1.weight'] == (512, 256, 3, 3) and shapes['conv5_3.bias'] == (512,)
    assert [name for name, _ in model.named_children()][-4:] == ['relu5_2', 'conv5_3', 'relu5_3', 'pool5']


def test_initialisation():
    model = VGG16(base_channels=16)
    model.init_weights()
    conv = model.conv4_2
    assert conv.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)  # fan-out, ReLU
    assert not conv.bias.any()
    model = VGG16(base_channels=16, conv_init='xavier')
    model.init_weights()
    bound = (6 / (2 * 128 * 9)) ** 0.5
    assert bound * 0.99 < model.conv4_2.weight.abs().max() <= bound


def test_errors():
    with pytest.raises(ValueError, match=r"pools: expected None or some of \['max2', .*\], got 'max4'"):
        VGG16(('max2', ('max3_same', 'max4')))
    with pytest.raises(ValueError, match='pools: expected 1 to 5 of them, got'):
        VGG16([None] * 6)
    with pytest.raises(ValueError, match="pools: expected 1 to 5 of them, got 'max2'"):
        VGG16('max2')
    with pytest.raises(ValueError, match=r"conv_init: expected one of \['kaiming', 'xavier'\], got 'he'"):
        VGG16(conv_init='he')
    with pytest.raises(ValueError, match=r"expected a backbone that gives \['cls_token'\], got VGG16"):
        VGG16(base_channels=1)(torch.zeros(1, 3, 32, 32), {'cls_token'})


def test_relu_in_place_leaves_recorded_stages_alone():
    """A pool without a layer passes its input on, which the next layer must not change."""
    model = VGG16(('max2', 'max2', None, None, None), base_channels=1)
    kept = []
    model.pool4.register_forward_hook(lambda module, args, output: kept.append((output, output.clone())))
    model(torch.randn(1, 3, 16, 16))
    assert torch.equal(*kept[0])
    assert isinstance(model.pool4, nn.Sequential) and len(model.pool4) == 0
