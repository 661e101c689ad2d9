"""Where maps are in the outputs of layers."""

from wsol_mm.models.classifiers.linear_form import normalised_like_mean
from wsol_mm.models.classifiers.probing import MapLayout, Probe, evaluation_mode, grid_of

import pytest
import torch
from torch import nn


@pytest.mark.parametrize(
    ('patches', 'size', 'grid'),
    [
        (196, (224, 224), (14, 14)),
        (8, (32, 64), (2, 4)),
        (8, (64, 32), (4, 2)),
        (197, (224, 224), None),
        (0, (8, 8), None),
    ],
)
def test_grid_of(patches, size, grid):
    assert grid_of(patches, size) == grid


@pytest.mark.parametrize(
    ('layout', 'shape'),
    [
        (MapLayout('channels_first'), (2, 5, 2, 4)),
        (MapLayout('channels_last'), (2, 2, 4, 5)),
        (MapLayout('tokens', 3), (2, 11, 5)),
    ],
)
def test_a_map_goes_out_and_back(layout, shape):
    output = torch.randn(shape)
    feature_map = layout.to_map(output, (32, 64))
    assert feature_map.shape == (2, 5, 2, 4)
    back = layout.put_back(feature_map, output)
    assert torch.equal(back, output) and back.data_ptr() != output.data_ptr()


def test_tokens_that_are_no_grid():
    with pytest.raises(ValueError, match=r'inputs: expected images .* got \(32, 32\) .* and 7 patches'):
        MapLayout('tokens', 1).to_map(torch.zeros(1, 8, 4), (32, 32))


@pytest.mark.parametrize(
    ('shape', 'prefix', 'layout'),
    [
        ((1, 5, 4, 4), None, MapLayout('channels_first')),
        ((1, 4, 4, 5), None, MapLayout('channels_last')),
        ((1, 17, 5), None, MapLayout('tokens', 1)),
        ((1, 21, 5), 5, MapLayout('tokens', 5)),
        ((1, 16, 5), 1, MapLayout('tokens', 0)),
        ((1, 5, 1, 1), None, None),
        ((1, 5), None, None),
        ((4, 5, 4, 4), None, None),
    ],
)
def test_layout_of_an_output(shape, prefix, layout):
    probe = Probe(torch.zeros(1, 3, 64, 64), [], torch.zeros(1, 2), prefix)
    assert probe.layout_of(torch.zeros(shape)) == layout


def test_mode_of_every_module_comes_back():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()).train()
    model[1].eval()
    with evaluation_mode(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, True, False]
    with pytest.raises(RuntimeError), evaluation_mode(model):
        model(torch.zeros(2, 3))
    assert [module.training for module in model.modules()] == [True, True, False]


def test_mean_of_the_normalised_map_is_the_normalised_mean():
    norm = nn.LayerNorm(6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    feature_map = torch.randn(2, 6, 3, 4)
    normalised = normalised_like_mean(feature_map, norm)
    torch.testing.assert_close(normalised.mean(dim=(2, 3)), norm(feature_map.mean(dim=(2, 3))))
    plain = normalised_like_mean(feature_map, nn.LayerNorm(6, elementwise_affine=False))
    torch.testing.assert_close(
        plain.mean(dim=(2, 3)), nn.functional.layer_norm(feature_map.mean(dim=(2, 3)), (6,))
    )
