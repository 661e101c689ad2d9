"""Tests of wsol_mm.models.layers.deformable_conv."""

import math

from wsol_mm.models.layers import deformable_conv
from wsol_mm.models.layers.deformable_conv import (
    deform_conv2d,
    deform_conv2d_in_pytorch,
    has_compiled_operator,
)

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision

CASES = [((6, 9), 1), ((14, 14), 1), ((5, 4), 0), ((4, 3), 2), ((1, 1), 1), ((1, 6), 1)]


@pytest.fixture(autouse=True)
def seed():
    """A numerical derivative is wrong where a random offset is an integer, nearly."""
    torch.manual_seed(0)


def make(grid=(6, 9), padding=1, integer=0.0, scale=3.0, dtype=torch.float64):
    """Return x (2, 3, ...), offsets of which a share is integer, and weight (4, 3, 3, 3)."""
    height, width = (side + 2 * padding - 2 for side in grid)
    offset = torch.randn(2, 18, height, width, dtype=dtype) * scale
    offset = torch.where(torch.rand_like(offset) < integer, offset.round(), offset)
    x = torch.randn(2, 3, *grid, dtype=dtype)
    weight = torch.randn(4, 3, 3, 3, dtype=dtype)
    return tuple(one.requires_grad_() for one in (x, offset, weight))


def number_by_number(x, offset, weight, padding):
    """The definition: one bilinear reading after the other."""
    batch, channels, height, width = x.shape
    y = torch.zeros(batch, len(weight), *offset.shape[-2:], dtype=x.dtype)

    def read(image, row, column):
        value = torch.zeros(channels, dtype=x.dtype)
        for i in (math.floor(row), math.floor(row) + 1):
            for j in (math.floor(column), math.floor(column) + 1):
                if 0 <= i < height and 0 <= j < width:
                    value = value + (1 - abs(row - i)) * (1 - abs(column - j)) * image[:, i, j]
        return value

    for b in range(batch):
        for i in range(y.shape[2]):
            for j in range(y.shape[3]):
                for k in range(9):
                    row = i - padding + k // 3 + offset[b, 2 * k, i, j].item()
                    column = j - padding + k % 3 + offset[b, 2 * k + 1, i, j].item()
                    y[b, :, i, j] += weight[:, :, k // 3, k % 3] @ read(x[b], row, column)
    return y


def results(convolution, inputs, padding, target):
    y = convolution(*inputs, padding)
    return [y, *torch.autograd.grad(y, inputs, target)]


@pytest.mark.parametrize(('grid', 'padding'), [case for case in CASES if case[0] != (14, 14)])
def test_equals_the_definition(grid, padding):
    inputs = make(grid, padding, integer=0.3)
    with torch.no_grad():
        expected = number_by_number(*inputs, padding)
        torch.testing.assert_close(deform_conv2d(*inputs, padding), expected)
        torch.testing.assert_close(deform_conv2d_in_pytorch(*inputs, padding), expected)


def test_no_offset_is_a_convolution():
    x, offset, weight = make(scale=0.0)
    torch.testing.assert_close(deform_conv2d(x, offset, weight, 1), F.conv2d(x, weight, padding=1))


def test_channels_are_row_then_column():
    x = torch.arange(30.0).view(1, 1, 5, 6)
    offset = torch.zeros(1, 18, 5, 6)
    weight = torch.zeros(1, 1, 3, 3)
    weight[..., 1, 1] = 1
    offset[:, 8], offset[:, 9] = 1, -2
    y = deform_conv2d(x, offset, weight, 1)
    assert torch.equal(y[0, 0, :4, 2:], x[0, 0, 1:, :4])
    assert not y[0, 0, 4].any() and not y[0, 0, :, :2].any()


@pytest.mark.parametrize('convolution', [deform_conv2d, deform_conv2d_in_pytorch])
def test_reference(repo_dir, convolution):
    """Offsets outside, quarters and integers, the derivatives at integers too."""
    with np.load(repo_dir / 'tests/data/parity/cdtr/module_ski.npz') as arrays:
        names = [name for name in arrays.files if name.split('/')[0] in ('in2', 'out2', 'grad2')]
        case = {name: torch.from_numpy(arrays[name]) for name in names}
    inputs = tuple(case[f'in2/{name}'].requires_grad_() for name in ('x', 'offset', 'weight'))
    y, *gradients = results(convolution, inputs, 1, case['in2/grad_out'])
    expected = case['out2/y']
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-5 + 2e-5 * expected.abs().max().item())
    # The reference's kernel gives no gradient at exactly -1, the last zeros before the map.
    rows, columns = torch.meshgrid(torch.arange(6), torch.arange(6), indexing='ij')
    moved = inputs[1].detach().unflatten(1, (3, 3, 2))
    taps = torch.arange(3) - 1
    at_border = moved[..., 0, :, :] + rows + taps[:, None, None, None] == -1
    at_border |= moved[..., 1, :, :] + columns + taps[:, None, None] == -1
    at_border = at_border.flatten(1, 2).repeat_interleave(2, dim=1)
    assert 0.02 < at_border.float().mean() < 0.2
    assert not case['grad2/offset'][at_border].any()
    gradients[1] = gradients[1].masked_fill(at_border, 0)
    for name, found in zip(('x', 'offset', 'weight'), gradients, strict=True):
        expected = case[f'grad2/{name}']
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 + 1e-4 * expected.abs().max().item())


@pytest.mark.parametrize(('grid', 'padding'), CASES)
@pytest.mark.parametrize('kind', [dict(), dict(integer=1.0), dict(integer=0.5), dict(scale=1e4)])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_pytorch_equals_torchvision(grid, padding, kind, dtype):
    if not has_compiled_operator('cpu'):
        pytest.skip("this torchvision's compiled operators do not exist for the CPU")
    inputs = make(grid, padding, dtype=dtype, **kind)
    target = torch.randn(2, 4, *inputs[1].shape[-2:], dtype=dtype)
    found = results(deform_conv2d_in_pytorch, inputs, padding, target)
    expected = results(torchvision_convolution, inputs, padding, target)
    for one, other in zip(found, expected, strict=True):
        rounding = (1e-12 if dtype == torch.float64 else 1e-5) * max(1, other.abs().max().item())
        torch.testing.assert_close(one, other, rtol=0, atol=rounding)


def torchvision_convolution(x, offset, weight, padding):
    return torchvision.ops.deform_conv2d(x, offset, weight, padding=padding)


@pytest.mark.parametrize(('grid', 'padding'), [((4, 3), 1), ((3, 4), 0), ((1, 2), 1)])
def test_gradients(grid, padding):
    inputs = make(grid, padding)
    assert torch.autograd.gradcheck(lambda *args: deform_conv2d_in_pytorch(*args, padding), inputs)


def test_derivative_at_integers_is_that_of_the_next_cell():
    x, offset, weight = make(integer=1.0)
    target = torch.randn(2, 4, 6, 9, dtype=x.dtype)
    after = (offset.detach() + 1e-9).requires_grad_()
    at_integers = results(deform_conv2d_in_pytorch, (x, offset, weight), 1, target)
    behind_them = results(deform_conv2d_in_pytorch, (x, after, weight), 1, target)
    torch.testing.assert_close(at_integers[2], behind_them[2], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize('far', [math.inf, -math.inf, 1e30])
def test_far_outside_is_zero(far):
    x, offset, weight = make()
    offset = torch.full_like(offset, far, requires_grad=True)
    for one in results(deform_conv2d_in_pytorch, (x, offset, weight), 1, torch.ones(2, 4, 6, 9).double()):
        assert not one.any()


def test_not_a_number_is_not_hidden():
    x, offset, weight = make()
    offset.data[0, 0, 2, 3] = math.nan
    y = deform_conv2d_in_pytorch(x, offset, weight, 1)
    assert y[0, :, 2, 3].isnan().all()
    assert y.isnan().sum() == 4


def test_empty_batch():
    x, offset, weight = make()
    assert deform_conv2d_in_pytorch(x[:0], offset[:0], weight, 1).shape == (0, 4, 6, 9)


def test_precision_under_autocast():
    inputs = make(dtype=torch.float32)
    expected = deform_conv2d(*inputs, 1)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(deform_conv2d(*inputs, 1), expected)
        assert deform_conv2d(*(one.bfloat16() for one in inputs), 1).dtype == torch.float32


def test_the_operator_is_used_where_it_exists(monkeypatch):
    asked = []

    def operator(x, offset, weight, padding):
        return deform_conv2d_in_pytorch(x, offset, weight, padding) + 1

    monkeypatch.setattr(deformable_conv, 'has_compiled_operator', lambda device: not asked.append(device))
    monkeypatch.setattr(torchvision.ops, 'deform_conv2d', operator)
    inputs = make()
    assert torch.equal(deform_conv2d(*inputs, 1), deform_conv2d_in_pytorch(*inputs, 1) + 1)
    assert asked == ['cpu']


def test_a_name_is_no_kernel():
    if hasattr(torch.ops.torchvision, 'deform_conv2d'):
        pytest.skip("torchvision's compiled operators exist")
    library = torch.library.Library('torchvision', 'FRAGMENT')
    try:
        library.define('deform_conv2d(Tensor input, Tensor weight, Tensor offset) -> Tensor')
        assert hasattr(torch.ops.torchvision, 'deform_conv2d')
        assert not has_compiled_operator.__wrapped__('cpu')
        library.impl('deform_conv2d', lambda x, weight, offset: x, 'CUDA')
        assert not has_compiled_operator.__wrapped__('cpu')
        assert has_compiled_operator.__wrapped__('cuda')
    finally:
        library._destroy()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(padding=-1), 'padding: expected an integer from 0, got -1'),
        (dict(x=torch.zeros(2, 3, 6)), r'x: expected the shape \(B, C, h, w\), got \(2, 3, 6\)'),
        (
            dict(weight=torch.zeros(4, 2, 3, 3)),
            r'weight: expected the shape \(O, 3, 3, 3\) .* got \(4, 2, 3, 3\)',
        ),
        (
            dict(weight=torch.zeros(4, 3, 5, 5)),
            r'weight: expected the shape \(O, 3, 3, 3\) .* got \(4, 3, 5, 5\)',
        ),
        (
            dict(offset=torch.zeros(2, 9, 6, 9)),
            r'offset: expected the shape \(2, 18, 6, 9\) .* got \(2, 9, 6, 9\)',
        ),
        (dict(padding=0), r'offset: expected the shape \(2, 18, 4, 7\) .* padding 0, got \(2, 18, 6, 9\)'),
        (dict(x=torch.zeros(2, 3, 2, 9), padding=0), 'x: expected room for a 3x3 kernel with padding 0, got'),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    x, offset, weight = make()
    with pytest.raises(ValueError, match=message):
        deform_conv2d(**{**dict(x=x, offset=offset, weight=weight, padding=1), **changes})
