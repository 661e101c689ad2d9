"""3x3 deformable convolution, with torchvision's operator where it exists and in plain PyTorch elsewhere."""

from functools import cache

from wsol_mm.models.utils.precision import at_least_float32, autocast_off

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

#: Taps of the kernel, row by row; tap k reads at (k // 3, k % 3).
NUM_TAPS = 9


@cache
def has_compiled_operator(device_type: str) -> bool:
    """Return whether torchvision's compiled deformable convolution runs on this type of device.

    An operator can have a name without a kernel: wsol_mm itself declares schemas for a torchvision whose
    library does not load. What counts is a kernel registered for the device.

    Args:
        device_type: As in ``tensor.device.type``.
    """
    if not hasattr(torch.ops.torchvision, 'deform_conv2d'):
        return False
    key = torch._C._dispatch_key_for_device(device_type)
    return torch._C._dispatch_has_kernel_for_dispatch_key('torchvision::deform_conv2d', key)


def _neighbours_on_axis(positions: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the two integer places around each position and their linear weights, both (..., 2).

    A place outside 0..size-1 weighs 0 and is replaced by one inside. The derivative of the weights is that of
    the cell between the two, also where the position is an integer.
    """
    # Beyond these bounds both places are outside; an infinite position would make no index.
    positions = positions.clamp(-2, size)
    lower = positions.detach().floor()
    fraction = positions - lower
    places = torch.stack((lower, lower + 1), dim=-1).long()
    inside = (places >= 0) & (places < size)
    weights = torch.stack((1 - fraction, fraction), dim=-1) * inside
    return places.clamp(0, size - 1), weights


def bilinear_neighbours(offset: Tensor, size: tuple[int, int], padding: int) -> tuple[Tensor, Tensor]:
    """Return which input pixels each tap reads at each output position, and with which bilinear weights.

    Tap k at output position p reads at p - padding + (k // 3, k % 3) + (offset[2k], offset[2k+1]).

    Args:
        offset: (B, 18, h', w') in float32 or better: how many rows (channel 2k) and columns (2k+1) tap k is
            moved.
        size: Height h and width w of the input.
        padding: Zeros around the input.

    Returns:
        Flat pixel indices in 0..h*w-1, int64, and weights, both (B, h'*w', 9, 4). A neighbour outside the
        input has weight 0 and some index inside.
    """
    like = dict(dtype=offset.dtype, device=offset.device)
    rows, columns = (torch.arange(side, **like) - padding for side in offset.shape[-2:])
    taps = torch.arange(3, **like)
    places = torch.cartesian_prod(rows, columns)[:, None] + torch.cartesian_prod(taps, taps)
    positions = places + offset.unflatten(1, (NUM_TAPS, 2)).flatten(3).permute(0, 3, 1, 2)
    row, row_weight = _neighbours_on_axis(positions[..., 0], size[0])
    column, column_weight = _neighbours_on_axis(positions[..., 1], size[1])
    pixels = row[..., :, None] * size[1] + column[..., None, :]
    weights = row_weight[..., :, None] * column_weight[..., None, :]
    return pixels.flatten(-2), weights.flatten(-2)


def deform_conv2d_in_pytorch(x: Tensor, offset: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Compute :func:`deform_conv2d` without compiled operators, in the precision of its arguments.

    Every sample of every tap is a weighted sum of four rows of a table of pixels; the kernel is then one
    matrix product.

    Args:
        x: (B, C, h, w).
        offset: (B, 18, h', w').
        weight: (O, C, 3, 3).
        padding: Zeros around the input.

    Returns:
        (B, O, h', w').
    """
    batch, channels, height, width = x.shape
    pixels, weights = bilinear_neighbours(offset, (height, width), padding)
    table = x.flatten(2).transpose(1, 2).flatten(0, 1)
    first_row = torch.arange(batch, device=x.device) * (height * width)
    rows = pixels + first_row[:, None, None, None]
    samples = F.embedding_bag(
        rows.reshape(-1, 4), table, per_sample_weights=weights.reshape(-1, 4), mode='sum'
    )
    samples = samples.view(*pixels.shape[:2], NUM_TAPS * channels)
    kernel = weight.flatten(2).transpose(1, 2).flatten(1)
    maps = kernel @ samples.transpose(1, 2)
    return maps.unflatten(2, offset.shape[-2:])


def deform_conv2d(x: Tensor, offset: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Convolve with a 3x3 kernel whose taps are moved at every position.

    The deformable convolution of Dai et al. (Deformable Convolutional Networks, ICCV 2017, section 2.1) with
    stride 1 and one group: y[o, p] = sum_k sum_c weight[o, c, k] * x[c, q], where x is read bilinearly, zero
    outside, at q = p - padding + (k // 3, k % 3) + (offset[2k, p], offset[2k+1, p]). At integer positions the
    gradient of the offsets is that of the cell after the position (so does mmcv's operator, except at -1,
    where it has none). torchvision's operator does it where it
    exists for the device, else :func:`deform_conv2d_in_pytorch`, with the same results up to rounding.

    Args:
        x: (B, C, h, w).
        offset: (B, 18, h', w'), h' = h + 2 * padding - 2 and w' likewise.
        weight: (O, C, 3, 3).
        padding: Zeros around the input, 0 or more.

    Returns:
        (B, O, h', w'), in float32 or better (also under autocast): the precision of ``x``.

    Raises:
        ValueError: If ``padding`` is negative or the shapes do not fit.
    """
    if padding < 0:
        raise ValueError(f'padding: expected an integer from 0, got {padding}')
    if x.ndim != 4:
        raise ValueError(f'x: expected the shape (B, C, h, w), got {tuple(x.shape)}')
    if weight.ndim != 4 or weight.shape[1:] != (x.shape[1], 3, 3):
        raise ValueError(
            f'weight: expected the shape (O, {x.shape[1]}, 3, 3) for x {tuple(x.shape)}, '
            f'got {tuple(weight.shape)}'
        )
    height, width = (side + 2 * padding - 2 for side in x.shape[-2:])
    expected = (x.shape[0], 2 * NUM_TAPS, height, width)
    if height < 1 or width < 1:
        raise ValueError(
            f'x: expected room for a 3x3 kernel with padding {padding}, got the shape {tuple(x.shape)}'
        )
    if offset.shape != expected:
        raise ValueError(
            f'offset: expected the shape {expected} for x {tuple(x.shape)} and padding {padding}, '
            f'got {tuple(offset.shape)}'
        )
    with autocast_off(x):
        x = at_least_float32(x)
        offset, weight = offset.to(x.dtype), weight.to(x.dtype)
        if has_compiled_operator(x.device.type):
            return torchvision.ops.deform_conv2d(x, offset, weight, padding=padding)
        return deform_conv2d_in_pytorch(x, offset, weight, padding)
