"""Tests of wsol_mm.models.layers.bilateral_refinement."""

from wsol_mm.models.layers import BilateralRefinement

import torch


def images() -> torch.Tensor:
    """Two dark images with a bright rectangle at rows 8 to 40, columns 16 to 48."""
    pixels = torch.full((2, 3, 48, 64), 40.9)
    pixels[:, :, 8:40, 16:48] = 220
    return pixels


def test_masks_follow_edges_and_grow_to_the_cells_that_they_touch():
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[0, 2:4, 3:5] = True  # a part of the rectangle: too little of it
    masks[1, 1:5, 2:5] = True
    refined, count = BilateralRefinement(sigma_spatial=8)(masks, images())
    assert count == 1
    assert torch.equal(refined[0], masks[0])
    expected = torch.zeros(6, 8, dtype=torch.bool)
    expected[1:5, 2:6] = True
    assert torch.equal(refined[1], expected)


def test_a_cell_counts_if_interpolation_sees_any_of_the_mask():
    masks = torch.zeros(1, 3, 4, dtype=torch.bool)
    masks[0, 0:2, 1:3] = True
    refined, count = BilateralRefinement()(masks, images()[:1])
    assert count == 1
    assert refined[0, :, 1:3].all() and not refined[0, :, [0, 3]].any()  # rows 0 to 48 of three cells
