"""Tests of wsol_mm.models.layers.back_ends."""

from wsol_mm.models.layers import InceptionBackEnd, MobileNetBackEnd, ResNetBackEnd, VGGBackEnd

import pytest
import torch
from mmpretrain.models.backbones import ResNet
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torchvision.models.inception import InceptionD


@pytest.mark.parametrize(
    ('back_end', 'channels', 'expected', 'odd'),
    [
        (VGGBackEnd, 8, 8, (3, 2)),
        (ResNetBackEnd, 16, 32, (3, 2)),
        (InceptionBackEnd, 24, 2048, (4, 3)),
        (MobileNetBackEnd, 8, 16, (4, 3)),
    ],
)
def test_maps_are_halved(back_end, channels, expected, odd):
    options = dict(depth=18) if back_end is ResNetBackEnd else {}
    module = back_end(channels, **options).eval()
    with torch.no_grad():
        assert module(torch.randn(2, channels, 8, 6)).shape == (2, expected, 4, 3)
        assert module(torch.randn(1, channels, 7, 5)).shape == (1, expected, *odd)
    assert module.out_channels == expected


def test_vgg_by_hand():
    module, x = VGGBackEnd(4), torch.randn(2, 4, 6, 6)
    expected = F.max_pool2d(x, 2)
    for number in (1, 2, 3):
        expected = getattr(module, f'conv5_{number}')(expected).relu()
    torch.testing.assert_close(module(x), expected)


def test_resnet_is_the_last_stage_of_the_network():
    torch.manual_seed(0)
    whole = ResNet(18, strides=(1, 2, 1, 1), out_indices=(2, 3))
    whole.eval()
    module = ResNetBackEnd(256, depth=18).eval()
    module.layer4.load_state_dict(whole.layer4.state_dict(), strict=True)
    with torch.no_grad():
        features = whole(torch.randn(1, 3, 64, 64))[0]
        torch.testing.assert_close(module(features), whole.layer4(F.max_pool2d(features, 2)))


def test_padding_shifts_the_strides_of_inception():
    """With one pixel of zeros around the image, the unpadded block takes the same windows."""
    torch.manual_seed(0)
    module, plain, x = InceptionBackEnd(4).Mixed_7a.eval(), InceptionD(4).eval(), torch.rand(1, 4, 6, 6)
    plain.load_state_dict(module.state_dict(), strict=True)
    with torch.no_grad():
        found = module(x)
        hidden = F.pad(module.branch3x3_1(x), (1, 1, 1, 1))
        torch.testing.assert_close(found[:, :320], plain.branch3x3_2(hidden))
        torch.testing.assert_close(found[:, -4:], F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, stride=2))
    assert found.shape == (1, 320 + 192 + 4, 3, 3) and isinstance(module.branch7x7x3_4.conv, nn.Conv2d)
