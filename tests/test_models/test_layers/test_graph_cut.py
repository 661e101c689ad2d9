"""Tests of wsol_mm.models.layers.graph_cut."""

from wsol_mm.models.layers import lost, maskcut, normalized_cut, tokencut
from wsol_mm.models.layers.graph_cut import _as_lapack_signs, seed_components

import numpy as np
import pytest
import torch

GRID = (6, 7)


def planted(*boxes, grid=GRID, noise=0.1, batch=2):
    """Features of a background and of objects in boxes (y0, x0, y1, x1), each with a direction of its own."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.zeros(grid, dtype=torch.int64)
    for number, (y0, x0, y1, x1) in enumerate(boxes, 1):
        kinds[y0:y1, x0:x1] = number
    directions = torch.eye(8)[kinds.flatten()]
    return directions + noise * torch.rand(batch, len(directions), 8, generator=generator), kinds


def test_the_eigenvector_solves_the_cut():
    features, _ = planted((1, 1, 3, 4))
    cut = normalized_cut(features, 0.5)
    unit = torch.nn.functional.normalize(features, dim=2)
    graph = torch.where(unit @ unit.transpose(1, 2) > 0.5, 1.0, 1e-5).double()
    degree = graph.sum(dim=2)
    left = degree * cut.vector - (graph @ cut.vector[:, :, None])[:, :, 0]
    torch.testing.assert_close(left, cut.eigenvalues[:, :1] * degree * cut.vector)
    torch.testing.assert_close((degree * cut.vector**2).sum(dim=1), torch.ones(2, dtype=torch.float64))
    assert not cut.degenerate.any()


@pytest.mark.parametrize('weighted', [False, True])
def test_tokencut_finds_the_planted_object(weighted):
    features, kinds = planted((1, 1, 3, 4))
    found = tokencut(normalized_cut(features, 0.5, weighted), GRID)
    assert torch.equal(found.masks, (kinds == 1).expand(2, *GRID))
    inside = found.values[:, kinds == 1]
    assert (inside.amin(dim=1) > found.values[:, kinds == 0].amax(dim=1)).all()


def test_a_complete_graph_is_degenerate():
    assert normalized_cut(torch.ones(1, 12, 3), 0.2).degenerate.all()
    assert not maskcut(torch.ones(1, 12, 3), (3, 4), 0.2)[0].any()


def test_of_equal_patches_the_first_is_the_seed():
    features, kinds = planted((1, 1, 3, 4), noise=0.0)
    found = tokencut(normalized_cut(features, 0.5), GRID)
    assert found.seeds.tolist() == [kinds.flatten().tolist().index(1)] * 2


def test_lost_grows_the_patch_of_lowest_degree():
    features, kinds = planted((1, 1, 3, 4), noise=0.0)
    features = features - 0.2  # other kinds point away
    found = lost(features, GRID, num_seeds=10)
    assert torch.equal(found.masks, (kinds == 1).expand(2, *GRID))
    assert (kinds.flatten()[found.seeds] == 1).all()


def test_maskcut_finds_one_object_after_the_other():
    grid = (10, 10)
    features, kinds = planted((1, 1, 4, 4), (6, 5, 9, 9), grid=grid)
    masks, vectors = maskcut(features, grid, 0.5, num_masks=3)
    assert masks.shape == vectors.shape == (2, 3, *grid)
    first, second = ({1, 2} & set(kinds[mask].tolist()) for mask in masks[0, :2])
    assert first | second == {1, 2}
    for mask in masks[0, :2]:
        assert torch.equal(mask, kinds == kinds[mask][0])
    assert (masks.sum(dim=1) <= 1).all()


@pytest.mark.parametrize('grid', [(3, 9), (6, 8)])
def test_of_equal_objects_maskcut_finds_the_first(grid):
    last = grid[1] - 2
    features, kinds = planted((1, 1, 2, 2), (1, last, 2, last + 1), grid=grid, noise=0.0)
    features[:, (kinds == 2).flatten()] = features[:, (kinds == 1).flatten()]
    masks, _ = maskcut(features, grid, 0.5, num_masks=1)
    assert torch.equal(masks[:, 0], (kinds == 1).expand(2, *grid))


@pytest.mark.parametrize('blanked', [0, 5])
@pytest.mark.parametrize('size', [20, 49])
def test_signs_are_those_of_lapack(size, blanked):
    linalg = pytest.importorskip('scipy.linalg')
    generator = torch.Generator().manual_seed(size)
    features = torch.randn(8, size, 6, generator=generator)
    features[:, :blanked] = 0
    cut = normalized_cut(features, 0.2, with_laplacian=True)
    found = _as_lapack_signs(cut)
    unit = torch.nn.functional.normalize(features, dim=2)
    graphs = torch.where(unit @ unit.transpose(1, 2) > 0.2, 1.0, 1e-5).double().numpy()
    for own, graph in zip(found, graphs, strict=True):
        degree = np.diag(graph.sum(axis=1))
        _, vectors = linalg.eigh(degree - graph, degree, subset_by_index=[1, 2])
        np.testing.assert_allclose(own.numpy(), vectors[:, 0], rtol=0, atol=1e-6 * abs(vectors[:, 0]).max())


def test_components_are_connected_by_edges():
    foreground = torch.tensor([[[1, 0, 1], [0, 1, 1], [1, 0, 0]]], dtype=torch.bool)
    assert seed_components(foreground, torch.tensor([4]))[0].tolist() == [
        [False, False, True],
        [False, True, True],
        [False, False, False],
    ]
    assert not seed_components(foreground, torch.tensor([1])).any()
