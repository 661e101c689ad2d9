"""From the localization map on the patch grid to the score map of the evaluation frame."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Interpolation = Literal['bilinear', 'bicubic', 'nearest']
NormalizeOrder = Literal['after_resize', 'before_resize', 'none']

_CV2_INTERPOLATION = {
    'bilinear': cv2.INTER_LINEAR,
    'bicubic': cv2.INTER_CUBIC,
    'nearest': cv2.INTER_NEAREST,
}


class ConstantMapError(ValueError):
    """A localization map without contrast (constant, or with NaN), which has no normalised form."""


def min_max_normalize(
    score: NDArray[np.floating], eps: float = 0.0, overwrite: bool = False
) -> NDArray[np.floating]:
    """Scale a map to [0, 1] in its own precision.

    Args:
        score: Map of any shape.
        eps: Added to the range in the divisor (SAT uses 1e-5).
        overwrite: Whether the result may take the place of the map.

    Returns:
        The normalised map.

    Raises:
        ConstantMapError: If the map holds NaN or has no contrast while ``eps`` is 0.
    """
    low, divisor = _low_and_divisor(score, eps)
    shifted = np.subtract(score, low, out=score if overwrite else None)
    shifted /= divisor
    return shifted


def normalized_codes(score: NDArray[np.floating], eps: float = 0.0) -> NDArray[np.uint8]:
    """Eight-bit codes of a map that is scaled to [0, 1] first, in one pass.

    Args:
        score: Map (H, W), contiguous.
        eps: Added to the range in the divisor.

    Returns:
        Codes (H, W): those of :func:`~wsol_mm.evaluation.functional.thresholding.quantize` for the map that
        :func:`min_max_normalize` makes.

    Raises:
        ConstantMapError: As for :func:`min_max_normalize`.
    """
    from .code_kernels import normalized_codes as kernel  # compiled code, imported only where it is wanted

    return kernel(score, *_low_and_divisor(score, eps), score.dtype.type(255))


def _low_and_divisor(score: NDArray[np.floating], eps: float) -> tuple[np.floating, np.floating]:
    """What is subtracted in the min-max and what is divided by."""
    low, high = score.min(), score.max()
    if np.isnan(low) or np.isnan(high):
        raise ConstantMapError('score: expected numbers, got NaN')
    if high == low and eps == 0:
        raise ConstantMapError(f'score: expected more than one value, got {low} alone: normalised, 0/0 (NaN)')
    # The largest difference is that of the extremes: rounding keeps the order.
    return low, (high - low) + score.dtype.type(eps)


def enlarge(
    loc_map: NDArray[np.floating],
    size: tuple[int, int],
    dtype: str = 'float32',
    interpolation: Interpolation = 'bilinear',
) -> NDArray[np.floating]:
    """Enlarge one localization map to the evaluation frame.

    Args:
        loc_map: Map (h, w) on the patch grid.
        size: Width and height of the frame in pixels.
        dtype: 'float32' or 'float64': the precision.
        interpolation: OpenCV's 'bilinear' or 'bicubic', both with half-pixel centres, or 'nearest'.

    Returns:
        Map (height, width).

    Raises:
        ConstantMapError: If the map holds NaN.
        ValueError: If ``loc_map`` is not a non-empty 2-D array.
    """
    return cv2.resize(_checked(loc_map, dtype), size, interpolation=_CV2_INTERPOLATION[interpolation])


def make_score_map(
    loc_map: NDArray[np.floating],
    size: tuple[int, int],
    dtype: str = 'float32',
    interpolation: Interpolation = 'bilinear',
    normalize: NormalizeOrder = 'after_resize',
    eps: float = 0.0,
) -> NDArray[np.floating]:
    """Enlarge one localization map to the evaluation frame and normalise it.

    Args:
        loc_map: Map (h, w) on the patch grid, un-normalised.
        size: Width and height of the frame in pixels.
        dtype: 'float32' or 'float64': the precision of resizing and normalising.
        interpolation: OpenCV's 'bilinear' or 'bicubic', both with half-pixel centres, or 'nearest'.
        normalize: Whether min-max comes after or before the enlargement, or not at all ('none').
        eps: Added to the divisor of the min-max.

    Returns:
        Score map (height, width). Between 0 and 1 unless 'before_resize' meets 'bicubic', or with 'none' the
        map is not.

    Raises:
        ConstantMapError: If the map holds NaN or is constant (and ``eps`` is 0).
        ValueError: If ``loc_map`` is not a non-empty 2-D array.
    """
    if normalize == 'before_resize':
        loc_map = min_max_normalize(_checked(loc_map, dtype), eps)
    score = enlarge(loc_map, size, dtype, interpolation)
    return min_max_normalize(score, eps, overwrite=True) if normalize == 'after_resize' else score


def _checked(loc_map: NDArray[np.floating], dtype: str) -> NDArray[np.floating]:
    loc_map = np.asarray(loc_map)
    if loc_map.ndim != 2 or loc_map.size == 0:
        raise ValueError(f'loc_map: expected a non-empty (h, w) array, got shape {loc_map.shape}')
    loc_map = loc_map.astype(dtype)
    if np.isnan(loc_map).any():
        raise ConstantMapError('loc_map: expected numbers, got NaN')
    return loc_map
