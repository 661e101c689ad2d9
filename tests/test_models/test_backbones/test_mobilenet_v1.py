"""Tests of wsol_mm.models.backbones.mobilenet_v1."""

from wsol_mm.models.backbones import MobileNetV1
from wsol_mm.models.layers import MobileNetBackEnd

import pytest
import torch
from torch import nn


def test_whole_network():
    backbone = MobileNetV1()
    assert sum(parameter.numel() for parameter in backbone.parameters()) == 3_206_976  # 4,231,976 less fc
    assert backbone.model[13][3].weight.shape == (1024, 1024, 1, 1)
    with torch.no_grad():
        assert backbone.eval()(torch.randn(1, 3, 64, 96)).feature_map.shape == (1, 1024, 4, 6)


def test_a_network_and_its_back_end_are_the_whole():
    torch.manual_seed(0)
    whole = MobileNetV1(width=0.25).eval()
    front, back_end = (
        MobileNetV1((2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1), width=0.25).eval(),
        MobileNetBackEnd(128),
    )
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
    state = {name.removeprefix('model.'): value for name, value in whole.state_dict().items()}
    last = {f'model.{name}': state.pop(name) for name in list(state) if name.startswith(('12.', '13.'))}
    back_end.load_state_dict(last, strict=True)
    front.load_state_dict({f'model.{name}': value for name, value in state.items()}, strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = back_end.eval()(front(images).feature_map)
        torch.testing.assert_close(found, whole(images).feature_map)


def test_first_blocks_by_hand():
    backbone = MobileNetV1((2, 1), width=0.25).eval()
    x = torch.randn(1, 3, 16, 16)
    stem, block = backbone.model
    hidden = nn.functional.conv2d(x, stem[0].weight, stride=2, padding=1) / (1 + 1e-5) ** 0.5
    hidden = nn.functional.conv2d(hidden.relu(), block[0].weight, padding=1, groups=8) / (1 + 1e-5) ** 0.5
    hidden = nn.functional.conv2d(hidden.relu(), block[3].weight) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(backbone(x).feature_map, hidden.relu())


def test_errors():
    with pytest.raises(ValueError, match='strides: expected 1 to 14 numbers, got 15'):
        MobileNetV1([1] * 15)
    with pytest.raises(ValueError, match='expected a backbone that gives'):
        MobileNetV1((2,))(torch.zeros(1, 3, 8, 8), {'cls_token'})
