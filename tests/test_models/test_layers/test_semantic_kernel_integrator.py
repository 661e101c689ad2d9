"""Tests of wsol_mm.models.layers.semantic_kernel_integrator."""

import json

from wsol_mm.models.layers import SemanticKernelIntegrator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule

GRIDS = [(14, 14), (7, 9), (2, 3), (1, 1), (1, 6)]
OFFICIAL_NAMES = {
    'offset_conv.weight': 'conv_offset.weight',
    'offset_conv.bias': 'conv_offset.bias',
    'weight': 'deform_conv.weight',
}


@pytest.fixture(autouse=True)
def seed():
    """A numerical derivative is wrong where a random offset is an integer, nearly."""
    torch.manual_seed(0)


def build(dtype=torch.float64, num_classes=5) -> SemanticKernelIntegrator:
    ski = SemanticKernelIntegrator(num_classes).to(dtype)
    for parameter in ski.parameters():
        parameter.data.normal_(std=0.4)
    return ski


def make_inputs(grid=(7, 9), dtype=torch.float64, num_classes=5):
    """Return CSM's maps, the head's and the attention."""
    shapes = (3, num_classes, *grid), (3, num_classes, *grid), (3, *grid)
    return tuple(torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes)


@pytest.fixture(scope='module')
def case(repo_dir):
    path = repo_dir / 'tests/data/parity/cdtr/module_ski.npz'
    with np.load(path) as arrays:
        arrays = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    return arrays, json.loads(path.with_suffix('.json').read_text())


def assert_near(found, case, name):
    """Compare with an array of the case within the tolerance that its JSON states."""
    expected = case[0][name]
    largest = expected.abs().max().item()
    if name.startswith('grad'):
        atol = 1e-4 * largest + 1e-6
    elif name == 'out/loss':
        atol = 1e-5 * (1 + largest)
    else:
        atol = 1e-5 + 2e-5 * largest
    torch.testing.assert_close(
        found.detach(), expected, rtol=0, atol=atol, msg=lambda text: f'{name}: {text}'
    )


@pytest.mark.parametrize('pooled', [False, True])
def test_reference(case, pooled):
    arrays = case[0]
    ski = SemanticKernelIntegrator(case[1]['model_args']['in_channels'])
    ski.load_state_dict({name: arrays[f'state/{official}'] for name, official in OFFICIAL_NAMES.items()})
    inputs = {
        name: arrays[f'in/{name}'].clone().requires_grad_() for name in ('csm_map', 'head_map', 'attn_map')
    }
    offsets = ski.offsets(inputs['head_map'], inputs['attn_map'].squeeze(1))
    assert_near(offsets, case, 'out/offset')
    if pooled:
        logits = ski.pooled(inputs['csm_map'], offsets)
    else:
        maps = ski(inputs['csm_map'], offsets)
        assert_near(maps, case, 'out/deform')
        logits = maps.mean(dim=(2, 3))
    assert_near(logits, case, 'out/logits')
    loss = F.cross_entropy(logits, arrays['in/label'])
    assert_near(loss, case, 'out/loss')
    loss.backward()
    for name, value in inputs.items():
        assert_near(value.grad, case, f'grad/in_{name}')
    for name, parameter in ski.named_parameters():
        assert_near(parameter.grad, case, f'grad/{OFFICIAL_NAMES[name]}')


def test_initial_weights():
    ski = SemanticKernelIntegrator(20)
    assert not ski.offset_conv.weight.any()
    for values, bound in ((ski.offset_conv.bias, (9 * 20) ** -0.5), (ski.weight, (6 / (9 * 20)) ** 0.5)):
        assert 0.5 * bound < values.abs().max() <= bound
    assert ski.weight.abs().max() > 0.99 * (6 / (9 * 20)) ** 0.5


def test_initialisation_of_the_model_keeps_them():
    class Model(BaseModule):
        def __init__(self):
            super().__init__(init_cfg=dict(type='Constant', layer='Conv2d', val=3.0, bias=3.0))
            self.ski = SemanticKernelIntegrator(6)

    model = Model()
    model.init_weights()
    assert not model.ski.offset_conv.weight.any()
    assert model.ski.offset_conv.bias.abs().max() <= (9 * 6) ** -0.5


def test_names_of_parameters():
    shapes = {name: tuple(value.shape) for name, value in SemanticKernelIntegrator(7).state_dict().items()}
    assert shapes == {'weight': (7, 7, 3, 3), 'offset_conv.weight': (18, 7, 3, 3), 'offset_conv.bias': (18,)}


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('scale', [0.0, 0.3, 2.0, 40.0])
def test_pooled_is_the_mean_of_the_maps(grid, scale):
    ski, (csm_maps, *others) = build(), make_inputs(grid)
    of = (csm_maps, *others, *ski.parameters())
    target = torch.randn(3, 5, dtype=torch.float64)
    offsets = ski.offsets(*others) * scale
    logits = ski.pooled(csm_maps, offsets), ski(csm_maps, offsets).mean(dim=(2, 3))
    torch.testing.assert_close(*logits, atol=1e-12, rtol=1e-12)
    gradients = [torch.autograd.grad((one * target).sum(), of, retain_graph=True) for one in logits]
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-12)


def test_pooled_and_maps_agree_at_integers():
    ski, (csm_maps, *_) = build(), make_inputs()
    offsets = torch.randint(-4, 5, (3, 18, 7, 9)).double().requires_grad_()
    target = torch.randn(3, 5, dtype=torch.float64)
    logits = ski.pooled(csm_maps, offsets), ski(csm_maps, offsets).mean(dim=(2, 3))
    gradients = [torch.autograd.grad((one * target).sum(), (csm_maps, offsets)) for one in logits]
    assert gradients[0][1].any()
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize('grid', [(3, 4), (1, 2)])
def test_gradients(grid):
    ski, inputs = build(num_classes=2), make_inputs(grid, num_classes=2)

    def pooled(csm_maps, head_maps, attention, *parameters):
        # The check changes the parameters in place: they need not be handed on.
        return ski.pooled(csm_maps, ski.offsets(head_maps, attention))

    assert torch.autograd.gradcheck(pooled, (*inputs, *ski.parameters()))


@pytest.mark.parametrize('grid', GRIDS)
def test_sampling_weights(grid):
    ski = build()
    weights = ski.sampling_weights(torch.randn(2, 18, *grid, dtype=torch.float64))
    assert weights.shape == (2, grid[0] * grid[1], 9)
    assert (weights >= 0).all() and (weights.sum(dim=1) <= 1 + 1e-12).all()
    # Without offsets the central tap reads every pixel once, a corner tap misses one row and one column.
    weights = ski.sampling_weights(torch.zeros(1, 18, *grid, dtype=torch.float64))
    pixels = grid[0] * grid[1]
    torch.testing.assert_close(weights[0, :, 4], torch.full((pixels,), 1 / pixels, dtype=torch.float64))
    corner = torch.zeros(grid, dtype=torch.float64)
    corner[:-1, :-1] = 1 / pixels
    torch.testing.assert_close(weights[0, :, 0], corner.flatten())


def test_composition_of_the_pooled_form():
    ski, (csm_maps, *others) = build(), make_inputs()
    offsets = ski.offsets(*others)
    means = csm_maps.flatten(2) @ ski.sampling_weights(offsets)
    expected = torch.einsum('ock,bck->bo', ski.weight.flatten(2), means)
    torch.testing.assert_close(ski.pooled_from(means), expected)
    torch.testing.assert_close(ski.pooled(csm_maps, offsets), expected)


@pytest.mark.parametrize('half', [False, True])
def test_precision_under_autocast(half):
    """Given the same inputs, in half precision or not, everything is as in float32."""
    ski = build(torch.float32)
    inputs = make_inputs(dtype=torch.float32)
    if half:
        inputs = tuple(one.detach().bfloat16().float().requires_grad_() for one in inputs)

    def run(csm_maps, head_maps, attention):
        offsets = ski.offsets(head_maps, attention)
        return [
            offsets,
            ski.sampling_weights(offsets),
            ski.pooled(csm_maps, offsets),
            ski(csm_maps, offsets).mean(dim=(2, 3)),
        ]

    def gradients(logits):
        return torch.autograd.grad(logits.square().sum(), (*inputs, *ski.parameters()), retain_graph=True)

    expected = run(*inputs)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = run(*(one.bfloat16() if half else one for one in inputs))
        assert ski.sampling_weights(found[0].bfloat16()).dtype == torch.float32
        assert ski.pooled_from(torch.zeros(2, 5, 9, dtype=torch.bfloat16)).dtype == torch.float32
    torch.testing.assert_close(found, expected)
    # A gradient passes through the cast of a half input, and is rounded there.
    rounding = dict(atol=2e-2, rtol=1e-2) if half else dict(atol=1e-6, rtol=1e-5)
    for one, other in zip(found[2:], expected[2:], strict=True):
        for ours, theirs in zip(gradients(one), gradients(other), strict=True):
            scale = theirs.abs().max()
            torch.testing.assert_close(ours / scale, theirs / scale, **rounding)


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda ski: SemanticKernelIntegrator(0), 'num_classes: expected an integer from 1, got 0'),
        (
            lambda ski: ski.offsets(torch.zeros(2, 4, 6, 6), torch.zeros(2, 6, 6)),
            r'head_maps: expected the shape \(B, 5, h, w\), got \(2, 4, 6, 6\)',
        ),
        (
            lambda ski: ski.offsets(torch.zeros(2, 5, 6, 6), torch.zeros(2, 1, 6, 6)),
            r'attention: expected the shape \(2, 6, 6\) .* got \(2, 1, 6, 6\)',
        ),
        (
            lambda ski: ski(torch.zeros(5, 6, 6), torch.zeros(2, 18, 6, 6)),
            r'csm_maps: expected the shape \(B, 5, h, w\), got \(5, 6, 6\)',
        ),
        (
            lambda ski: ski(torch.zeros(2, 5, 6, 6), torch.zeros(2, 18, 6, 7)),
            r'offsets: expected the shape \(2, 18, 6, 6\), got \(2, 18, 6, 7\)',
        ),
        (
            lambda ski: ski.pooled(torch.zeros(2, 5, 6, 6), torch.zeros(3, 18, 6, 6)),
            r'offsets: expected the shape \(2, 18, 6, 6\), got \(3, 18, 6, 6\)',
        ),
        (
            lambda ski: ski.sampling_weights(torch.zeros(2, 9, 6, 6)),
            r'offsets: expected the shape \(B, 18, h, w\), got \(2, 9, 6, 6\)',
        ),
        (
            lambda ski: ski.pooled_from(torch.zeros(2, 9, 5)),
            r'means: expected the shape \(B, 5, 9\), got \(2, 9, 5\)',
        ),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(SemanticKernelIntegrator(5))
