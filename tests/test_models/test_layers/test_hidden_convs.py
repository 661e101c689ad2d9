"""Tests of wsol_mm.models.layers.hidden_convs and scaled_maps."""

from wsol_mm.models.layers import hidden_convs, scaled_maps

import torch
import torch.nn.functional as F


def test_convolutions_with_relu():
    convs = hidden_convs(4, (6, 5))
    assert [tuple(block[0].weight.shape) for block in convs] == [(6, 4, 3, 3), (5, 6, 3, 3)]
    x = torch.randn(2, 4, 5, 7)
    expected = x
    for block in convs:
        expected = F.conv2d(expected, block[0].weight, block[0].bias, padding=1).relu()
    torch.testing.assert_close(convs(x), expected)
    assert hidden_convs(4, ())(x) is x


def test_maps_from_0_to_1():
    maps = torch.tensor([[[[-1.0, 3.0]], [[0.0, 2.0]], [[5.0, 5.0]]]])
    found = scaled_maps(maps)
    assert found[0, :2].tolist() == [[[0, 1]], [[0, 1]]]
    assert found[0, 2].isnan().all()
    torch.testing.assert_close(
        scaled_maps(torch.tensor([[[[2.0, 6.0, 3.0]]]])).flatten()[2], torch.tensor(0.25)
    )
