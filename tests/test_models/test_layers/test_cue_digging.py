"""Tests of wsol_mm.models.layers.cue_digging."""

from wsol_mm.models.layers import CueDigging

import pytest
import torch
import torch.nn.functional as F

GRIDS = [(14, 14), (24, 24), (7, 9), (2, 3), (1, 1), (1, 6)]


def build(kernels: int = 4, size: int = 3) -> CueDigging:
    cdm = CueDigging(12, 9, kernels, size).double()
    for parameter in cdm.parameters():
        parameter.data.normal_(std=0.3)
    return cdm


def sample_by_sample(cdm: CueDigging, x: torch.Tensor, cues: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The reference's way: one kernel and one convolution per sample, then two poolings."""
    gates, maps = [], []
    for features, cue in zip(x, cues, strict=True):
        average, maximum = cue.mean(dim=(1, 2)), cue.flatten(1).max(dim=1).values
        logits = cdm.route_mean.weight @ average + cdm.route_mean.bias
        gate = torch.sigmoid(logits + cdm.route_max.weight @ maximum + cdm.route_max.bias)
        kernel = sum(weight * one for weight, one in zip(gate, cdm.weight, strict=True))
        maps.append(F.conv2d(features[None], kernel, cdm.bias, padding=cdm.kernel_size // 2))
        gates.append(gate)
    maps = torch.cat(maps)
    pooled = F.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=True)
    return torch.stack(gates), maps, pooled.mean(dim=(2, 3))


@pytest.fixture
def inputs():
    def make(grid):
        return tuple(torch.randn(3, 12, *grid, dtype=torch.float64, requires_grad=True) for _ in range(2))

    return make


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize(('kernels', 'size'), [(4, 3), (1, 3), (2, 1), (3, 5)])
def test_equals_a_loop_over_the_samples(inputs, grid, kernels, size):
    cdm, (x, cues) = build(kernels, size), inputs(grid)
    gates, maps, logits = sample_by_sample(cdm, x, cues)
    routing = cdm.routing(cues)
    labels = torch.tensor([[0, 8, 3, 3], [1, 1, 2, 7], [5, 0, 8, 4]])
    torch.testing.assert_close(routing, gates)
    torch.testing.assert_close(cdm(x, routing), maps)
    torch.testing.assert_close(cdm.pooled(x, routing), logits)
    expected = torch.stack([one[wanted] for one, wanted in zip(maps, labels, strict=True)])
    torch.testing.assert_close(cdm.class_maps(x, routing, labels), expected)


@pytest.mark.parametrize('grid', GRIDS[1:])
def test_logits_have_the_gradients_of_the_loop(inputs, grid):
    cdm, (x, cues) = build(), inputs(grid)
    target = torch.randn(3, 9, dtype=torch.float64)
    of = (x, cues, *cdm.parameters())
    logits = cdm.pooled(x, cdm.routing(cues)), sample_by_sample(cdm, x, cues)[2]
    gradients = [torch.autograd.grad((one * target).sum(), of) for one in logits]
    torch.testing.assert_close(*gradients)


def test_border_cells_weigh_less():
    cdm = build(1, 1)
    x = torch.zeros(3, 12, 14, 14, dtype=torch.float64)
    for index, (row, column) in enumerate([(5, 5), (0, 5), (0, 0)]):
        x[index, 0, row, column] = 196
    difference = cdm.pooled(x, torch.ones(3, 1, dtype=torch.float64)) - 0.9070294784580499 * cdm.bias
    expected = torch.tensor([1, 6 / 9, 4 / 9], dtype=torch.float64)[:, None] * cdm.weight[0, :, 0, 0, 0]
    torch.testing.assert_close(difference, expected)


@pytest.mark.parametrize('classes', [200, 1000])
def test_initial_bounds(classes):
    for init, fan_in in (('reference', classes * 16 * 9), ('default', 16 * 9)):
        cdm = CueDigging(16, classes, kernel_init=init)
        bound = fan_in**-0.5
        for values in (cdm.weight, cdm.bias):
            assert 0.95 * bound < values.abs().max() <= bound


def test_precision_under_autocast():
    cdm = build().float()
    x, cues = torch.randn(2, 12, 6, 6), torch.randn(2, 12, 6, 6)
    labels = torch.tensor([[1], [8]])
    routing = cdm.routing(cues)
    logits, maps = cdm.pooled(x, routing), cdm.class_maps(x, routing, labels)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(cdm.routing(cues), routing)
        assert torch.equal(cdm.class_maps(x, routing, labels), maps)
        assert cdm.routing(cues.bfloat16()).dtype == torch.float32
        found = cdm.pooled(x, routing)
        half = cdm.pooled(x.bfloat16(), routing)
    torch.testing.assert_close(found.float(), logits, atol=0.03, rtol=0.03)
    torch.testing.assert_close(half.float(), logits, atol=0.06, rtol=0.06)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(in_channels=0), 'in_channels: expected an integer from 1, got 0'),
        (dict(num_classes=-1), 'num_classes: expected an integer from 1, got -1'),
        (dict(num_kernels=0), 'num_kernels: expected an integer from 1, got 0'),
        (dict(kernel_size=2), 'kernel_size: expected an odd positive integer, got 2'),
        (dict(kernel_init='zero'), "kernel_init: expected one of .* got 'zero'"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        CueDigging(**{**dict(in_channels=4, num_classes=3), **changes})
