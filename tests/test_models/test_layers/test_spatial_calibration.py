"""Tests of SCM's layers against its formulas, written out with dense matrices and autograd."""

from tests.fresh_processes import run_in_forks
from wsol_mm.models.layers import (
    SpatialCalibration,
    SpatialCalibrationLayer,
    graph_diffusion,
    grid_graph,
    grid_laplacian,
    min_max,
    neighbour_similarity,
)

import pytest
import torch
from torch import Tensor

ALPHA = 0.002


def dense_laplacian(height: int, width: int) -> Tensor:
    row, column = (axis.flatten() for axis in torch.meshgrid(torch.arange(height), torch.arange(width)))
    distance = (row[:, None] - row).abs() + (column[:, None] - column).abs()
    adjacency = (distance == 1).double()
    return torch.diag(adjacency.sum(dim=1)) - adjacency


def dense_layer(maps, attention, scale, threshold, iterations, detach=True):
    """One layer as docs/specifications/scm.md, section 2.3, writes it."""
    height, width = maps.shape[-2:]
    flat = maps.flatten(2)
    unit = flat / flat.norm(dim=1, keepdim=True)
    matrix = dense_laplacian(height, width).to(maps.dtype) * (scale * unit.mT @ unit - 1)
    inverse = ALPHA * matrix.mT
    if detach:
        inverse = inverse.detach()
    twice = 2 * torch.eye(height * width, dtype=maps.dtype)
    for _ in range(iterations):
        inverse = inverse @ (twice - matrix @ inverse)
    values = attention.flatten(1)
    diffused = (inverse.mT @ values[..., None]).squeeze(2)
    z = diffused / (threshold * values.max(dim=1, keepdim=True).values)
    change = min_max(z - z.tanh()).unflatten(1, (height, width))
    return maps * (1 + change[:, None]), attention + change


def inputs(height=5, width=6, channels=4, batch=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    maps = torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)
    attention = torch.rand(batch, height, width, generator=generator, dtype=torch.float64)
    return maps.to(dtype).requires_grad_(), attention.to(dtype).requires_grad_()


def gradients(outputs, sources):
    generator = torch.Generator().manual_seed(4)
    loss = sum((out * torch.randn(out.shape, generator=generator, dtype=out.dtype)).sum() for out in outputs)
    return torch.autograd.grad(loss, sources)


@pytest.mark.parametrize(('height', 'width'), [(14, 14), (7, 9), (1, 5), (24, 24)])
def test_laplacian_of_any_grid(height, width):
    graph = grid_graph(height, width)
    assert torch.equal(grid_laplacian(graph).double(), dense_laplacian(height, width))
    assert grid_graph(height, width) is graph, 'built once'


def test_laplacian_with_other_neighbours():
    diagonal = grid_laplacian(grid_graph(2, 2, 'cpu', 8))
    assert diagonal.tolist() == [[1, 0, 0, -1], [0, 1, -1, 0], [0, -1, 1, 0], [-1, 0, 0, 1]]
    distant = grid_laplacian(grid_graph(1, 4, 'cpu', 4, 2))
    assert distant.tolist() == [[1, 0, -1, 0], [0, 1, 0, -1], [-1, 0, 1, 0], [0, -1, 0, 1]]


def test_similarity_on_the_edges():
    maps, _ = inputs()
    graph = grid_graph(5, 6)
    flat = maps.flatten(2)
    unit = flat / flat.norm(dim=1, keepdim=True)
    every = unit.mT @ unit
    torch.testing.assert_close(neighbour_similarity(maps, graph), every[:, graph.edges[0], graph.edges[1]])


@pytest.mark.parametrize('iterations', [1, 3, 4, 5, 9, 16])
@pytest.mark.parametrize(('scale', 'threshold'), [(1.0, 0.5), (0.8, 0.65)])
def test_layer_is_the_formula(iterations, scale, threshold):
    maps, attention = inputs()
    layer = SpatialCalibrationLayer(iterations).double()
    with torch.no_grad():
        layer.similarity_scale.fill_(scale)
        layer.threshold.fill_(threshold)
    found = layer(maps, attention)
    sources = (maps, attention, layer.similarity_scale, layer.threshold)
    expected = dense_layer(*sources, iterations)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(gradients(found, sources), gradients(expected, sources), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6 * float(theirs.abs().max()))


def test_start_of_the_iteration_is_a_constant():
    """Its gradient would change everything; this fails where the start is differentiated."""
    maps, attention = inputs()
    layer = SpatialCalibrationLayer(9).double()
    sources = (maps, attention, layer.similarity_scale, layer.threshold)
    found = gradients(layer(maps, attention), sources)
    wrong = gradients(dense_layer(*sources, 9, detach=False), sources)
    for ours, other in ((found[0], wrong[0]), (found[2], wrong[2])):
        assert (ours - other).abs().max() > 0.2 * ours.abs().max()


def test_several_vectors_at_once():
    maps, attention = inputs()
    graph = grid_graph(5, 6)
    values, diagonal = 1 - neighbour_similarity(maps, graph), torch.zeros(30, dtype=torch.float64)
    inverse = graph_diffusion(values, diagonal, torch.eye(30).double().expand(2, -1, -1), graph, 6)
    found = graph_diffusion(values, diagonal, attention.flatten(1), graph, 6)
    torch.testing.assert_close(found, (inverse @ attention.flatten(1)[..., None]).squeeze(2))
    torch.testing.assert_close(inverse, inverse.mT, msg='polynomials of a symmetric matrix')


@pytest.mark.parametrize(('height', 'width'), [(7, 9), (24, 24)])
def test_stack_is_its_layers_one_after_the_other(height, width):
    maps, attention = inputs(height, width)
    stack = SpatialCalibration((6, 4, 4)).double()
    with torch.no_grad():
        for number, layer in enumerate(stack.layers):
            layer.similarity_scale.fill_(0.9 + 0.1 * number)
    new_maps, new_attention = stack(maps, attention)
    expected = maps, attention
    for layer in stack.layers:
        expected = layer(*expected)
    torch.testing.assert_close(new_maps, expected[0])
    torch.testing.assert_close(new_attention, expected[1])
    torch.testing.assert_close(stack.mean_scores(maps, attention), expected[0].mean(dim=(2, 3)))


def test_float32_is_near_float64():
    maps, attention = inputs(14, 14)
    expected = SpatialCalibration().double()(maps, attention)
    found = SpatialCalibration()(maps.float(), attention.float())
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_autocast_and_half_precision_are_computed_in_float32():
    maps, attention = inputs(7, 9, dtype=torch.float32)
    maps = maps.detach().bfloat16().requires_grad_()
    stack = SpatialCalibration((6, 4))
    expected = stack.mean_scores(maps.float(), attention)
    plain = torch.autograd.grad(expected.sum(), maps)[0]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = stack.mean_scores(maps, attention)
    inside = torch.autograd.grad(found.sum(), maps)[0]
    assert found.dtype == torch.float32
    assert torch.equal(found, expected) and torch.equal(inside, plain)


_PRECISION_SCRIPT = """
import wsol_mm, torch
from wsol_mm.models.layers import SpatialCalibrationLayer
from wsol_mm.models.utils.precision import full_precision

matmul = torch.backends.cuda.matmul
{switch}
before = matmul.allow_tf32 if {legacy} else matmul.fp32_precision
maps, attention = torch.rand(2, 3, 4, 4, requires_grad=True), torch.rand(2, 4, 4)
SpatialCalibrationLayer()(maps, attention)[0].sum().backward()
with full_precision(maps):
    assert not matmul.allow_tf32 if {legacy} else matmul.fp32_precision == 'ieee'
assert (matmul.allow_tf32 if {legacy} else matmul.fp32_precision) == before
assert before not in (False, 'none', 'ieee'), before
"""


def test_tf32_is_kept_out_and_switched_on_again():
    """By either of PyTorch's ways to switch it on, which must not be mixed: hence one process for each."""
    switches = {"torch.set_float32_matmul_precision('high')": True, 'matmul.allow_tf32 = True': True}
    if hasattr(torch.backends.cuda.matmul, 'fp32_precision'):
        switches |= {"matmul.fp32_precision = 'tf32'": False, "torch.backends.fp32_precision = 'tf32'": False}
    scripts = [_PRECISION_SCRIPT.format(switch=switch, legacy=legacy) for switch, legacy in switches.items()]
    failed = run_in_forks('import wsol_mm.models.layers', scripts)
    assert not failed, failed


def test_memory_of_the_backward():
    """One matrix per squaring: fewer than the 3 per iteration of the written-out form."""
    sizes = []
    maps, attention = inputs(14, 14, dtype=torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        SpatialCalibrationLayer(16)(maps, attention)
    matrix = 2 * 196**2
    assert sum(size >= matrix for size in sizes) <= 14


def test_min_max_gives_its_gradient_to_one_entry():
    values = torch.tensor([[0.0, 0.0, 1.0, 2.0, 2.0]], requires_grad=True)
    scaled = min_max(values)
    assert scaled.tolist() == [[0, 0, 0.5, 1, 1]]
    (gradient,) = torch.autograd.grad(scaled[0, 2], values)
    assert (gradient != 0).sum() == 3, 'its own entry, one smallest, one largest'


def test_constant_map():
    maps, _ = inputs()
    constant = torch.full((2, 5, 6), 0.3, dtype=torch.float64)
    assert min_max(constant.flatten(1)).isnan().all()
    assert not min_max(constant.flatten(1), eps=1e-6).any()
    zeros = torch.zeros_like(constant)
    assert SpatialCalibration()(maps, zeros)[0].isnan().all()
    assert SpatialCalibration(eps=1e-6)(maps, zeros)[0].isfinite().all()


def test_eps_keeps_the_gradient_finite_at_a_position_without_scores():
    maps, attention = inputs()
    maps = maps.detach().clone()
    maps[:, :, 2, 3] = 0
    maps.requires_grad_()
    SpatialCalibration(eps=1e-6)(maps, attention)[0].square().sum().backward()
    assert maps.grad.isfinite().all() and maps.grad.any()


def test_nothing_of_the_graph_is_saved():
    stack = SpatialCalibration((4, 4))
    stack(*inputs(dtype=torch.float32))
    assert set(stack.state_dict()) == {
        f'layers.{i}.{name}' for i in range(2) for name in ('similarity_scale', 'threshold')
    }
    assert stack.layers[0].similarity_scale.tolist() == [1] and stack.layers[0].threshold.tolist() == [0.5]


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: SpatialCalibrationLayer(-1), 'iterations: expected an integer from 0, got -1'),
        (lambda: SpatialCalibrationLayer(alpha=0), 'alpha: expected a positive number, got 0'),
        (lambda: SpatialCalibrationLayer(eps=-1), 'eps: expected a number from 0, got -1'),
        (lambda: SpatialCalibration(()), 'iterations: expected the iterations of at least one layer'),
        (lambda: grid_graph(3, 3, 'cpu', 6), r'num_connect: expected one of \[4, 8\], got 6'),
        (lambda: grid_graph(0, 3), 'height: expected an integer from 1, got 0'),
        (lambda: grid_graph(3, 3, 'cpu', 4, 0), 'dilation: expected an integer from 1, got 0'),
        (
            lambda: SpatialCalibrationLayer()(torch.ones(1, 2, 3, 4), torch.ones(1, 4, 3)),
            r'attention: expected \(B, h, w\) = \(1, 3, 4\), as the maps have, got \(1, 4, 3\)',
        ),
        (
            lambda: neighbour_similarity(torch.ones(1, 2, 3, 4), grid_graph(4, 3)),
            r'features: expected the grid of the graph, \(4, 3\), got \(3, 4\)',
        ),
        (
            lambda: graph_diffusion(
                torch.ones(1, 4), torch.ones(4), torch.ones(1, 4), grid_graph(2, 2), iterations=-2
            ),
            'iterations: expected an integer from 0, got -2',
        ),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
