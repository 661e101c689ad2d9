"""Tests of wsol_mm.models.layers.category_stimulation."""

from wsol_mm.models.layers import CategoryStimulation

import pytest
import torch
import torch.nn.functional as F


@pytest.fixture
def csm() -> CategoryStimulation:
    csm = CategoryStimulation(attention_maps=6, num_classes=5, base_channels=2).double()
    for parameter in csm.parameters():
        parameter.data.normal_(std=0.4)
    return csm


def double_conv(block: torch.nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    for conv, norm in ((block[0], block[1]), (block[3], block[4])):
        x = F.conv2d(x, conv.weight, padding=1)
        x = F.batch_norm(x, None, None, norm.weight, norm.bias, training=True, eps=1e-5)
        x = torch.where(x < 0, 0.01 * x, x)
    return x


@pytest.mark.parametrize('grid', [(14, 14), (6, 9)])
def test_formulas(csm, grid):
    attention = torch.rand(3, 6, *grid, dtype=torch.float64)
    encoded = double_conv(csm.encoder, F.max_pool2d(attention, kernel_size=2, stride=2))
    enlarged = F.interpolate(encoded, grid, mode='bilinear', align_corners=False)
    expected = double_conv(csm.decoder, torch.cat((attention, enlarged), dim=1))
    decoded = csm.train()(attention)
    torch.testing.assert_close(decoded, expected)
    maps = torch.einsum('oc,bchw->bohw', csm.classifier.weight[:, :, 0, 0], expected)
    torch.testing.assert_close(csm.maps(decoded), maps)
    torch.testing.assert_close(csm.pooled(decoded), maps.mean(dim=(2, 3)))
    labels = torch.tensor([[0, 4], [2, 2], [1, 3]])
    wanted = torch.stack([one[chosen] for one, chosen in zip(maps, labels, strict=True)])
    torch.testing.assert_close(csm.class_maps(decoded, labels), wanted)
    weights = torch.rand(3, grid[0] * grid[1], 4, dtype=torch.float64)
    torch.testing.assert_close(csm.classify(decoded.flatten(2) @ weights), maps.flatten(2) @ weights)


def test_running_statistics_follow_slowly(csm):
    attention = torch.rand(4, 6, 8, 8, dtype=torch.float64)
    csm.train()(attention)
    first = F.conv2d(F.max_pool2d(attention, 2), csm.encoder[0].weight, padding=1)
    torch.testing.assert_close(csm.encoder[1].running_mean, 0.01 * first.mean(dim=(0, 2, 3)))


def test_width_and_sizes():
    csm = CategoryStimulation(attention_maps=72, num_classes=200, base_channels=8)
    assert sum(parameter.numel() for parameter in csm.parameters()) == 571_936
    csm = CategoryStimulation(attention_maps=72, num_classes=1000, base_channels=256)
    assert sum(parameter.numel() for parameter in csm.parameters()) == 17_953_120


def test_width_must_be_positive():
    with pytest.raises(ValueError, match='csm.base_channels: expected an integer from 1, got 0'):
        CategoryStimulation(attention_maps=6, num_classes=5, base_channels=0)
