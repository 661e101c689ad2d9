"""Filters of one image at a time: they follow its edges, and give the same for the same."""

from wsol_mm.evaluation.functional.bilateral_solver import bilateral_solver
from wsol_mm.models.refinement import BilateralSolver, GrabCut

import numpy as np
import pytest
import torch
from torch import Tensor, nn


@pytest.fixture
def pixels() -> Tensor:
    """Two images with a bright square, each at another place."""
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 20 + 30
    images[0, :, 20:44, 20:44] += 150
    images[1, :, 10:34, 24:56] += 150
    return images


def blurred(pixels: Tensor) -> Tensor:
    """A coarse map of the bright part, (B, 1, 64, 64)."""
    grid = torch.nn.functional.avg_pool2d((pixels.mean(dim=1, keepdim=True) > 100).float(), 8)
    return torch.nn.functional.interpolate(grid, (64, 64), mode='bilinear')


@pytest.mark.parametrize('edge_filter', [BilateralSolver(8, 8, 8), GrabCut()], ids=['solver', 'grabcut'])
def test_the_map_comes_closer_to_the_object(edge_filter: nn.Module, pixels: Tensor) -> None:
    truth = pixels.mean(dim=1, keepdim=True) > 100
    maps = blurred(pixels)
    found = edge_filter(maps, pixels)
    wrong = [(((one > 0.4) != truth).sum().item()) for one in (maps, found)]
    assert found.shape == maps.shape
    assert wrong[1] < 0.5 * wrong[0]
    # Neither other images of the batch nor an earlier call change the result.
    assert torch.equal(found[1:], edge_filter(maps[1:], pixels[1:]))


def test_the_solver_is_that_of_the_evaluation(pixels: Tensor) -> None:
    maps = blurred(pixels)
    expected = bilateral_solver(
        pixels[0].round().byte().permute(1, 2, 0).numpy(), maps[0, 0].numpy(), 16, 16, 8
    )
    np.testing.assert_allclose(BilateralSolver()(maps, pixels)[0, 0], expected.soft, rtol=1e-6)


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_grabcut_leaves_a_map_without_two_sides(value: float, pixels: Tensor) -> None:
    maps = torch.full((2, 1, 64, 64), value)
    assert torch.equal(GrabCut()(maps, pixels), maps)


def test_nan_stays(pixels: Tensor) -> None:
    maps = blurred(pixels)
    maps[0, 0, 3, 3] = torch.nan
    for edge_filter in (BilateralSolver(), GrabCut()):
        found = edge_filter(maps, pixels)
        assert found[0].isnan().any()
        assert found[1].isfinite().all()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(threshold=1.0), 'threshold: expected a number between 0 and 1, got 1.0'),
        (dict(sure=0.0), 'sure: expected a number between 0 and 1, got 0.0'),
        (dict(iterations=0), 'iterations: expected an integer from 1, got 0'),
    ],
)
def test_impossible_settings_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GrabCut(**arguments)
