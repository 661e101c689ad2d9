"""TokenCut, LOST and MaskCut on given keys."""

from wsol_mm.evaluation.functional import mask_box
from wsol_mm.models.layers import lost, maskcut, normalized_cut, tokencut
from wsol_mm.models.layers.graph_cut import seed_components

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..case import Case
from ..comparison import Comparison, close, equal
from ..engine import checks


def keys_of(case: Case) -> tuple[Tensor, tuple[int, int]]:
    """Return the keys of the patches, and their grid."""
    height, width = (int(side) for side in case.arrays['in/grid'])
    keys = torch.from_numpy(case.arrays['in/keys'])
    return keys[:, keys.shape[1] - height * width :], (height, width)


def boxes_of(masks: Tensor, case: Case) -> NDArray:
    """Return the boxes of masks in pixels, clipped to the image."""
    height, width = case.arrays['in/image_size']
    boxes = np.stack([mask_box(mask) for mask in masks.numpy()]) * case.meta['patch_size']
    boxes[:, 2:] = np.minimum(boxes[:, 2:], (width, height))
    return boxes


def same_direction(name: str, found: NDArray, expected: NDArray, tolerance: float) -> Comparison:
    """Compare vectors (N, ...) up to a factor."""
    found, expected = (array.reshape(len(array), -1).astype(np.float64) for array in (found, expected))
    factor = (found * expected).sum(axis=1, keepdims=True) / (found**2).sum(axis=1, keepdims=True)
    largest = np.abs(expected).max(axis=1, keepdims=True)
    return close(name, found * factor / largest, expected / largest, tolerance)


@checks('tokencut', lambda case: 'out/bipartition' in case.arrays)
def check_tokencut(case: Case) -> list[Comparison]:
    """Graph, eigenvector, side, component and box."""
    keys, grid = keys_of(case)
    weighted = not case.meta['binary_graph']
    cut = normalized_cut(keys, float(case.meta['tau']), weighted)
    found, arrays = tokencut(cut, grid), case.arrays
    tolerance = 1e-4 if weighted else 1e-5
    values = found.values.flatten(1)
    seeds = torch.from_numpy(arrays['out/seed'])
    tied = values.abs().gather(1, seeds[:, None])[:, 0] >= (1 - 1e-6) * values.abs().amax(dim=1)
    degree = arrays['out/affinity_degree'].astype(np.float64)
    above = values > values.mean(dim=1, keepdim=True)
    # Of patches that tie, rounding chose the reference's: its side and its object are those to compare.
    above ^= tied[:, None] & ~above.gather(1, seeds[:, None])
    masks = torch.where(tied[:, None, None], seed_components(above.unflatten(1, grid), seeds), found.masks)
    return [
        close(
            'affinity_degree', cut.degree.numpy() / degree, np.ones_like(degree), 1e-5 if weighted else 1e-9
        ),
        same_direction('eigenvector', found.values.numpy(), arrays['out/eigenvector'], tolerance),
        close('eigenvalues', cut.eigenvalues, arrays['out/eigenvalues'], 1e-4 if weighted else 1e-9),
        equal('bipartition', above.unflatten(1, grid), arrays['out/bipartition']),
        equal('mask', masks, arrays['out/mask']),
        equal('seed is one of the largest', tied, np.ones(len(seeds), bool)),
        equal('boxes', boxes_of(masks, case), arrays['out/boxes']),
    ]


@checks('tokencut', lambda case: 'out/expanded_sum' in case.arrays)
def check_lost(case: Case) -> list[Comparison]:
    """Degrees, seed, sums, component and box."""
    keys, grid = keys_of(case)
    found, arrays = lost(keys, grid, int(case.meta['k_patches'])), case.arrays
    products = keys @ keys.transpose(1, 2)
    degree = ((products > 0).sum(dim=2) - (products.diagonal(dim1=1, dim2=2) > 0).long()).numpy()
    sums = arrays['out/expanded_sum']
    return [
        equal('degree', -degree, arrays['out/degree']),
        equal('seed', found.seeds, arrays['out/seed']),
        close('expanded_sum', found.values, sums, 1e-4 * np.abs(sums) + 1e-4),
        equal('mask', found.masks, arrays['out/mask']),
        equal('boxes', boxes_of(found.masks, case), arrays['out/boxes']),
    ]


@checks('tokencut', lambda case: 'out/masks_disjoint' in case.arrays)
def check_maskcut(case: Case) -> list[Comparison]:
    """Masks of all rounds, and the first eigenvector."""
    keys, grid = keys_of(case)
    masks, vectors = maskcut(keys, grid, float(case.meta['tau']), int(case.meta['N']))
    expected = case.arrays['out/eigenvectors']
    return [
        equal('masks_disjoint', masks, case.arrays['out/masks_disjoint']),
        same_direction('eigenvectors', vectors[:, 0].numpy(), expected[:, 0], 1e-5),
    ]
