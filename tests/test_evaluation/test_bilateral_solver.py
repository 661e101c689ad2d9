"""Tests of wsol_mm.evaluation.functional.bilateral_solver."""

from wsol_mm.evaluation.functional.bilateral_solver import (
    BilateralGrid,
    bilateral_solver,
    refine_mask,
    solved_components,
)

import numpy as np
import pytest


def two_colours(height: int = 48, width: int = 64) -> np.ndarray:
    """A dark image with a bright rectangle at rows 8 to 40, columns 16 to 48."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[8:40, 16:48] = 220
    return image


def dense_solution(image: np.ndarray, target: np.ndarray, smoothness: float) -> np.ndarray:
    """The exact solution, with all matrices written out."""
    grid = BilateralGrid(image, 8, 16, 8)
    pixels = np.arange(target.size)
    splat = np.zeros((grid.num_cells, target.size))
    splat[grid.cell_of_pixel, pixels] = 1
    blur = np.stack([grid.blur(row) for row in np.eye(grid.num_cells)])
    scale, mass = grid.bistochastic(10)
    system = smoothness * (np.diag(mass) - np.diag(scale) @ blur @ np.diag(scale))
    system += 0.999 * np.diag(splat.sum(axis=1))
    return (splat.T @ np.linalg.solve(system, 0.999 * splat @ target.reshape(-1))).reshape(target.shape)


def test_the_grid_joins_cells_that_touch():
    image = np.zeros((4, 8, 3), np.uint8)
    grid = BilateralGrid(image, 2, 4, 4)  # 2 x 4 cells of one colour
    assert grid.num_cells == 8
    counts = grid.splat(np.ones(32))
    assert counts.tolist() == [4.0] * 8
    neighbours = grid.blur(np.ones(8)) - 10
    assert sorted(neighbours.tolist()) == [2.0] * 4 + [3.0] * 4  # corners; the ends of a row touch no other
    assert grid.slice(np.arange(8.0)).reshape(4, 8)[:, 0].tolist() == [0, 0, 4, 4]


def test_the_solution_is_that_of_the_dense_system():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 16, 3), np.uint8)
    target = rng.random((12, 16))
    solved = bilateral_solver(image, target, 8, 16, 8, smoothness=4, iterations=500, tolerance=1e-12)
    np.testing.assert_allclose(solved.soft, dense_solution(image, target, 4), atol=1e-9)


def test_a_coarse_mask_moves_to_the_edges():
    coarse = np.zeros((48, 64), np.float32)
    coarse[12:36, 20:52] = 1
    solved = bilateral_solver(two_colours(), coarse, 16, 16, 8)
    expected = two_colours()[..., 0] > 100
    assert np.array_equal(solved.soft > 0.5, expected)
    # Of 3 x 4 cells of 16 pixels six hold bright pixels, and two of these no dark ones.
    assert solved.num_cells == 10 + 6


def test_components():
    soft = np.zeros((8, 12))
    soft[1:5, 1:5] = 1
    soft[2, 2] = 0  # a hole
    soft[6, 8:10] = 1
    soft[5, 5] = 1  # touches by a corner alone
    largest = np.zeros((8, 12), bool)
    largest[1:5, 1:5] = True
    assert np.array_equal(solved_components(soft), largest)
    all_parts = largest.copy()
    all_parts[6, 8:10] = all_parts[5, 5] = True
    assert np.array_equal(solved_components(soft, 'all'), all_parts)


def test_components_of_nothing_and_of_everything():
    nothing, everything = np.zeros((4, 5)), np.ones((4, 5))
    assert solved_components(nothing).all() and not solved_components(nothing, 'all').any()
    assert not solved_components(everything).any() and not solved_components(everything, 'all').any()
    large = np.ones((4, 5))
    large[0, 0] = 0  # the object is larger than what is around it
    assert np.array_equal(solved_components(large), large == 0)


def test_a_mask_is_refined_where_the_solver_agrees():
    mask = np.zeros((6, 8), bool)
    mask[1:5, 2:5] = True
    refined = refine_mask(mask, two_colours())
    assert refined is not None and np.array_equal(refined, two_colours()[..., 0] > 100)
    assert refine_mask(mask, two_colours(), min_iou=0.99) is None
    assert refine_mask(np.zeros((3, 4), bool), two_colours()) is None


@pytest.mark.parametrize(
    ('image', 'options', 'message'),
    [
        (np.zeros((4, 5)), {}, r'image, target: expected the shapes .*, got \(4, 5\) and \(4, 5\)'),
        (np.zeros((4, 6, 3)), {}, r'got \(4, 6, 3\) and \(4, 5\)'),
        (np.zeros((4, 5, 3)), dict(sigma_luma=0), 'expected positive numbers, got 24, 0, 4'),
    ],
)
def test_errors(image, options, message):
    with pytest.raises(ValueError, match=message):
        bilateral_solver(image, np.zeros((4, 5)), **options)


def test_unknown_components():
    with pytest.raises(ValueError, match="components: expected 'largest' or 'all', got 'some'"):
        solved_components(np.zeros((2, 2)), 'some')
