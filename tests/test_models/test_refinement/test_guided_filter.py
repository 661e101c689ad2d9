"""Guided filter: against its definition, window by window."""

from wsol_mm.models.refinement import GuidedFilter

import numpy as np
import pytest
import torch


def by_definition(score: np.ndarray, image: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Ridge regression on the colours in every window; the mean of the fits of all windows around a pixel."""
    height, width = score.shape
    colours = np.dstack((image / 255, np.ones((height, width))))
    fits, count = np.zeros((height, width, 4)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            window = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            guide, values = colours[window].reshape(-1, 4), score[window].reshape(-1)
            ridge = np.diag([eps, eps, eps, 0]) * len(guide)
            # A window is around a pixel if the pixel is in the window.
            fits[window] += np.linalg.solve(guide.T @ guide + ridge, guide.T @ values)
            count[window] += 1
    return (fits * colours).sum(axis=2) / count


def test_equals_its_definition() -> None:
    random = np.random.default_rng(0)
    maps, images = random.random((2, 3, 9, 12)), random.integers(0, 256, (2, 9, 12, 3))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).double()
    found = GuidedFilter(radius=2, stride=1, eps=1e-2)(torch.from_numpy(maps), pixels)
    for of_image, image, result in zip(maps, images, found.numpy(), strict=True):
        for score, one in zip(of_image, result, strict=True):
            np.testing.assert_allclose(one, by_definition(score, image, 2, 1e-2), rtol=1e-9, atol=1e-9)


def test_a_blurred_map_finds_the_edge_of_the_image() -> None:
    pixels = torch.zeros(1, 3, 64, 64)
    pixels[..., 23:] = torch.tensor([200.0, 40.0, 90.0])[:, None, None]
    blurred = torch.sigmoid((torch.arange(64.0) - 23) / 6).expand(1, 1, 64, 64)
    before = blurred[0, 0, 32].diff().max()
    for stride in (1, 2):
        step = GuidedFilter(radius=12, stride=stride)(blurred, pixels)[0, 0, 32].diff()
        assert step.argmax() == 22
        assert step[22] > 8 * before


def test_the_coarser_grid_changes_little() -> None:
    torch.manual_seed(0)
    pixels = 255 * torch.nn.functional.interpolate(torch.rand(1, 3, 14, 14), (224, 224), mode='bilinear')
    maps = torch.nn.functional.interpolate(torch.rand(1, 1, 14, 14), (224, 224), mode='bilinear')
    exact, coarse = (GuidedFilter(stride=stride)(maps, pixels) for stride in (1, 2))
    assert (exact - coarse).abs().mean() < 0.006
    assert (exact - maps).abs().mean() > 0.03


def test_single_precision_is_enough_for_images_without_contrast() -> None:
    pixels = torch.full((1, 3, 224, 224), 127.0) + torch.rand(1, 3, 224, 224)
    maps = torch.rand(1, 2, 224, 224)
    single = GuidedFilter(eps=1e-3)(maps, pixels)
    double = GuidedFilter(eps=1e-3)(maps.double(), pixels.double())
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(radius=0), 'radius: expected an integer from 1, got 0'),
        (dict(radius=2.5), 'radius: expected an integer from 1, got 2.5'),
        (dict(stride=0), 'stride: expected an integer from 1, got 0'),
        (dict(radius=11), 'radius: expected a multiple of the stride 2, got 11'),
        (dict(eps=0.0), 'eps: expected a positive number, got 0.0'),
    ],
)
def test_impossible_settings_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GuidedFilter(**arguments)
