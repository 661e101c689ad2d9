"""Images that show nothing."""

from benchmarks.box_confidence import images_of_nothing
from wsol_mm.evaluation.functional.image_content import shows_nothing

import cv2
import numpy as np
import pytest

SHAPE = (224, 224, 3)


def noise(side, strength=80):
    pixels = np.random.default_rng(side).normal(128, strength, (side, side, 3)).clip(0, 255).astype(np.uint8)
    return cv2.resize(pixels, SHAPE[:2], interpolation=cv2.INTER_CUBIC)


def test_one_colour_and_noise():
    images = images_of_nothing()
    # Grey, colours and noise of all strengths; blots and ramps have something to see.
    assert [shows_nothing(image) for image in images] == [True] * 64 + [False] * 24
    assert all(shows_nothing(noise(side)) for side in (100, 160, 224, 500))
    assert shows_nothing(np.full((3, 5, 3), 200, np.uint8))


@pytest.mark.parametrize(
    ('side', 'contrast', 'seen'),
    [
        (4, 200, True),
        (12, 200, True),
        (12, 40, True),
        (40, 30, True),
        (40, 3, False),
        (120, 3, True),
        (120, 1, False),
    ],
)
def test_an_object_on_one_colour(side, contrast, seen):
    """A small faint one is none."""
    image = np.full(SHAPE, 40, np.uint8)
    image[60 : 60 + side, 90 : 90 + side, 1] += contrast
    assert shows_nothing(image) is not seen


def test_thin_lines_are_something():
    drawing = np.full(SHAPE, 255, np.uint8)
    for radius in (30, 60, 90):
        cv2.circle(drawing, (112, 112), radius, (0, 0, 0), 1)
    assert not shows_nothing(drawing)
