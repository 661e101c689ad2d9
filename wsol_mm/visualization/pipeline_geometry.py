"""Finds where a data pipeline puts the pixels of an image, by sending coordinates along with it.

Neither crops of mmcv and mmpretrain nor random rotations say in the packed item what they did. Here every
transform runs twice more, from the same state of the random generators, on images whose colours are their
coordinates: what comes out says for every pixel where it came from, and an affine map is fitted to that.
"""

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wsol_mm.structures import CENTER_CROP

import mmcv.transforms as mmcv_transforms
import mmengine.dataset
import mmpretrain.datasets.transforms as mmpretrain_transforms
import numpy as np
import torch
from numpy.typing import NDArray

# They change colours (or cover a part of the image), and move nothing. Their effect on colours that are
# coordinates would look like a move.
_PHOTOMETRIC = (
    *(
        getattr(mmpretrain_transforms, name)
        for name in (
            *(
                'AutoContrast',
                'Brightness',
                'ColorJitter',
                'ColorTransform',
                'Contrast',
                'Cutout',
                'Equalize',
            ),
            *('GaussianBlur', 'Invert', 'Lighting', 'Posterize', 'RandomErasing', 'Sharpness', 'Solarize'),
            'SolarizeAdd',
        )
    ),
    mmcv_transforms.Normalize,
    mmcv_transforms.RandomGrayscale,
)
# They run some of their transforms, on one image. Others that hold transforms are treated as one transform.
_CONTAINERS = (
    mmcv_transforms.Compose,
    mmcv_transforms.RandomApply,
    mmcv_transforms.RandomChoice,
    mmengine.dataset.Compose,
    mmpretrain_transforms.RandAugment,
)
# Pixels of a probe that may be used must be this close to what they should be, in grey levels.
_TOLERANCE = 1.0
_LEAST_PIXELS = 32
# Share of the pixels that must agree with the fitted map, within rounding to levels and to the nearest pixel.
_LEAST_AGREEMENT = 0.95
_LEVELS_ROUNDED, _PIXELS_ROUNDED = 1.5, 0.75


class PipelineGeometry:
    """Follows the geometry of a pipeline while it runs.

    Call :meth:`follow` once and :meth:`reset` before every item; then :attr:`matrix` and :attr:`problem` tell
    of the item.

    Attributes:
        matrix: (3, 3) float64: homogeneous (x, y) of the loaded image, in continuous pixel coordinates (the
            centre of the first pixel is 0.5), to those of the network's input; None if unknown.
        problem: Name of the transform whose geometry could not be found, or None.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the last item."""
        self.matrix: NDArray[np.float64] | None = np.eye(3)
        self.problem: str | None = None

    def follow(self, pipeline: Any) -> None:
        """Put every transform of a pipeline under observation, also those in containers.

        Args:
            pipeline: A ``Compose``; changed in place.
        """
        pipeline.transforms = [self._observed(transform) for transform in pipeline.transforms]

    def boxes_in_input(self, boxes: NDArray[np.floating]) -> NDArray[np.float64] | None:
        """Return the corners (N, 4, 2) in the network's input of boxes (N, 4) of the file, clockwise.

        Boxes have exclusive ends. After a rotation or a shear they are no upright rectangles. None if the
        geometry is unknown.
        """
        if self.matrix is None:
            return None
        x0, y0, x1, y1 = np.asarray(boxes, np.float64).reshape(-1, 4).T
        corners = np.stack([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]).transpose(2, 0, 1)
        return corners @ self.matrix[:2, :2].T + self.matrix[:2, 2]

    def _observed(self, transform: Any) -> Any:
        if isinstance(transform, (list, tuple)):
            return [self._observed(part) for part in transform]
        if isinstance(transform, _CONTAINERS):
            parts = transform.transforms
            transform.transforms = self._observed(parts)
            return transform
        # The data set looks for its loader by type; it makes the image that coordinates refer to.
        if isinstance(transform, (mmcv_transforms.LoadImageFromFile, *_PHOTOMETRIC)):
            return transform
        return _ObservedTransform(transform, self)

    def _extend(self, matrix: NDArray[np.float64] | None, name: str) -> None:
        if self.matrix is None:
            return
        self.matrix = None if matrix is None else matrix @ self.matrix
        self.problem = name if matrix is None else None


class _ObservedTransform:
    """Runs a transform, and once more on coordinates."""

    def __init__(self, transform: Callable[[dict], dict | None], geometry: PipelineGeometry) -> None:
        self.transform = transform
        self.geometry = geometry

    def __call__(self, results: dict) -> dict | None:
        image = results.get('img')
        if not isinstance(image, np.ndarray):
            return self.transform(results)
        rest = copy.deepcopy({key: value for key, value in results.items() if key != 'img'})
        before = _random_states()
        after = self.transform(results)
        # A transform that packs leaves no image; what it packs has the geometry of its input.
        if isinstance(after, dict) and 'img' in after:
            with _random_generators_at(before):
                matrix = _probe(self.transform, rest, image)
            self.geometry._extend(matrix, type(self.transform).__name__)
        return after

    def __repr__(self) -> str:
        return repr(self.transform)


def _random_states() -> tuple:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _set_random_states(states: tuple) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


@contextmanager
def _random_generators_at(states: tuple) -> Iterator[None]:
    """Set the random generators back for a while."""
    now = _random_states()
    _set_random_states(states)
    try:
        yield
    finally:
        _set_random_states(now)


def _probe(
    transform: Callable[[dict], dict | None], rest: dict, image: NDArray
) -> NDArray[np.float64] | None:
    """Return the affine map (3, 3) from the pixels before a transform to those after it, None if unknown."""
    if image.ndim != 3 or image.shape[2] != 3:
        return None
    height, width = image.shape[:2]
    ramps = coordinate_image(width, height)
    states = _random_states()
    outputs = []
    # The second one is the first with its coordinates running backwards.
    for probe in (ramps, np.concatenate([255 - ramps[..., :2], ramps[..., 2:]], axis=2)):
        _set_random_states(states)
        out = transform({**copy.deepcopy(rest), 'img': probe.copy()})
        shown = out.get('img') if isinstance(out, dict) else None
        if isinstance(shown, np.ndarray) and shown.ndim == 4:
            shown = shown[CENTER_CROP].transpose(1, 2, 0)
        if not isinstance(shown, np.ndarray) or shown.ndim != 3 or shown.shape[2] != 3:
            return None
        outputs.append(shown)
    if outputs[0].shape != outputs[1].shape:
        return None
    if np.array_equal(outputs[0], ramps):
        return np.eye(3)
    return fit_affine(outputs[0].astype(np.float64), outputs[1].astype(np.float64), (width, height))


def coordinate_image(width: int, height: int) -> NDArray[np.uint8]:
    """Return an image (height, width, 3) whose colours are its coordinates: x and y as 0..255, and 255."""
    # Rounded up or down at random: steps of plain rounding would tilt the fit by up to half a pixel.
    chance = np.random.default_rng(0).random((2, height, width))
    image = np.full((height, width, 3), 255, np.uint8)
    image[..., 0] = (np.arange(width) + 0.5)[None] / width * 255 + chance[0]
    image[..., 1] = (np.arange(height) + 0.5)[:, None] / height * 255 + chance[1]
    return image


def fit_affine(
    forward: NDArray[np.float64], backward: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.float64] | None:
    """Fit an affine map to what a transform made of :func:`coordinate_image`.

    Args:
        forward: The transformed coordinate image (h, w, 3).
        backward: The same of the image with backward coordinates.
        size: Width and height of the image before.

    Returns:
        Map (3, 3) from pixels before to pixels after the transform; None if what came out is not one: too few
        pixels are left, their colours were changed, or the map is not affine.
    """
    sums = np.abs(forward[..., :2] + backward[..., :2] - 255).max(axis=2)
    opaque = np.minimum(forward[..., 2], backward[..., 2]) >= 255
    usable = opaque & (sums <= _TOLERANCE)
    # Where colours were changed, coordinates that still look usable are not to be trusted.
    if usable.sum() < max(_LEAST_PIXELS, _LEAST_AGREEMENT * opaque.sum()):
        return None
    rows, columns = np.nonzero(usable)
    places = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1)
    levels = (forward - backward)[..., :2][usable] / 2 + 127.5
    fit = np.linalg.lstsq(places, levels, rcond=None)[0]
    tolerance = _LEVELS_ROUNDED + _PIXELS_ROUNDED * 255 / np.array(size)
    agreeing = (np.abs(places @ fit - levels) <= tolerance).all(axis=1)
    if agreeing.mean() < _LEAST_AGREEMENT:
        return None
    fit = np.linalg.lstsq(places[agreeing], levels[agreeing], rcond=None)[0]
    inverse = np.eye(3)
    inverse[:2] = fit.T * np.array(size)[:, None] / 255
    if abs(np.linalg.det(inverse)) < 1e-6:
        return None
    return np.linalg.inv(inverse).astype(np.float64)
