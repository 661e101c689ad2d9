"""From an image and its thresholds to integer levels.

The region finder (:mod:`wsol_mm.evaluation.functional.regions`) works on *levels*: with the distinct
thresholds ``u_0 < u_1 < ...`` of an image, the level of a pixel is the number of thresholds strictly below
it, so that ``pixel > u_j`` is ``level > j``.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

_MAX_LEVELS = np.iinfo(np.uint16).max


class LevelImage(NamedTuple):
    """Levels of an image.

    Attributes:
        levels: (H, W) uint16, number of distinct thresholds strictly below the pixel.
        num_levels: Number of distinct thresholds, L.
        index: (T,) int64 in [0, L), place of each given threshold among the distinct ones: the foreground
            ``image > thresholds[t]`` is ``levels > index[t]``.
    """

    levels: np.ndarray
    num_levels: int
    index: np.ndarray  # type: ignore[assignment]  # the method of tuples is not needed


def quantize(score_map: np.ndarray) -> np.ndarray:
    """Eight-bit codes of a score map, ``truncate(255 * score)``.

    The product is formed in the type of the map: float64 for a float64 map (as in the evaluator of Choe et
    al., *Evaluating Weakly Supervised Object Localization Methods Right*, CVPR 2020), float32 for a float32
    one. A map rounded to float32 may lose or gain a code where a score lies next to one.

    Args:
        score_map: (H, W) float64 or float32, values in [0, 1].

    Returns:
        (H, W) uint8.

    Raises:
        TypeError: The map is not an array of float64 or float32.
        ValueError: The map is not two-dimensional, is empty, holds NaN, or holds a value whose code is not in
            [0, 255].
    """
    _check_image('score_map', score_map, (np.float64, np.float32))
    scaled = score_map * score_map.dtype.type(255)
    low, high = scaled.min(), scaled.max()
    # Truncation is toward zero: a rounding error of the interpolation does no harm. NaN fails as well.
    if not (low > -1 and high < 256):
        if np.isnan(low):
            raise ValueError(f'score_map: expected values in [0, 1], got {np.isnan(score_map).sum()} NaN')
        raise ValueError(f'score_map: expected values in [0, 1], got {score_map.min()} to {score_map.max()}')
    return scaled.astype(np.uint8)


def integer_thresholds(thresholds: np.ndarray, maximum: int) -> np.ndarray:
    """Thresholds on the codes of a map, ``int(tau * maximum)``.

    The product is float64 and truncated: 0.29 * 100 gives 28.

    Args:
        thresholds: (T,) float64, shares tau of the maximum.
        maximum: Largest code of the map, in [0, 255].

    Returns:
        (T,) int64.

    Raises:
        TypeError: The thresholds are not an array of real numbers.
        ValueError: The thresholds are not one-dimensional, are empty or hold NaN.
    """
    thresholds = _check_thresholds(thresholds)
    return (thresholds.astype(np.float64, copy=False) * int(maximum)).astype(np.int64)


def level_image(image: np.ndarray, thresholds: np.ndarray) -> LevelImage:
    """Levels of an image for ``image > threshold`` at every threshold.

    A float image is compared with the thresholds cast to its type, which is what NumPy 2 does for
    ``image > t`` with a Python float t (a float32 map is compared in float32). Thresholds that no value of
    the image's type separates share a level.

    Args:
        image: (H, W) uint8, float32 or float64.
        thresholds: (T,) integers or floats, in any order, repeats allowed.

    Returns:
        The levels, their number, and the place of each threshold.

    Raises:
        TypeError: The image is of another type, or the thresholds are not an array of real numbers.
        ValueError: The image is not two-dimensional or is empty; the thresholds are not one-dimensional, are
            empty or more than 65,535 distinct ones; either holds NaN.
    """
    _check_image('image', image, (np.uint8, np.float32, np.float64))
    thresholds = _check_thresholds(thresholds)
    if image.dtype == np.uint8:
        # By a table, a tenth of the time of sorting and searching.
        table, num_levels, index = _code_table(thresholds)
        return LevelImage(cv2.LUT(image, table), num_levels, index)
    thresholds = thresholds.astype(image.dtype, copy=False)
    if np.isnan(image.min()):
        raise ValueError(f'image: expected numbers, got {np.isnan(image).sum()} NaN')
    distinct, index = np.unique(thresholds, return_inverse=True)
    if len(distinct) > _MAX_LEVELS:
        raise ValueError(f'thresholds: expected at most {_MAX_LEVELS} distinct values, got {len(distinct)}')
    levels = np.searchsorted(distinct, image.ravel()).astype(np.uint16).reshape(image.shape)
    return LevelImage(levels, len(distinct), index.reshape(-1))


class CodeTable(NamedTuple):
    """Levels of 8-bit codes.

    Attributes:
        table: (256,) uint16, number of distinct thresholds strictly below every code.
        num_levels: Number of distinct thresholds, L.
        index: (T,) int64, place of each given threshold among the distinct ones.
    """

    table: np.ndarray
    num_levels: int
    index: np.ndarray  # type: ignore[assignment]  # the method of tuples is not needed


# The maximum of a normalised map is 255: the thresholds on its codes are those of all other maps.
@lru_cache(maxsize=64)
def share_table(shares: bytes, maximum: int) -> CodeTable:
    """Levels of codes for ``codes > int(tau * maximum)`` at every tau.

    Args:
        shares: Bytes of the shares tau (T,), float64: unlike an array, they are hashed once for all images.
        maximum: Largest code of the map.
    """
    return _code_table(integer_thresholds(np.frombuffer(shares), maximum))


def _code_table(thresholds: np.ndarray) -> CodeTable:
    # q > t is q > floor(t), that is q >= floor(t) + 1; all codes are above -1 and none above 255.
    least = np.clip(np.floor(thresholds), -1, 255).astype(np.int64) + 1
    used = np.zeros(257, bool)
    used[least] = True
    rank = np.cumsum(used)
    table, index = rank[:256].astype(np.uint16), rank[least] - 1
    index.flags.writeable = False
    return CodeTable(table, int(rank[-1]), index)


def _check_image(name: str, image: np.ndarray, dtypes: tuple[type, ...]) -> None:
    if not isinstance(image, np.ndarray) or image.dtype not in dtypes:
        accepted = ' or '.join(np.dtype(dtype).name for dtype in dtypes)
        found = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f'{name}: expected an array of {accepted}, got {found}')
    if image.ndim != 2 or image.size == 0:
        raise ValueError(f'{name}: expected the shape (H, W) with at least one pixel, got {image.shape}')


def _check_thresholds(thresholds: np.ndarray) -> np.ndarray:
    thresholds = np.asarray(thresholds)
    if thresholds.dtype.kind not in 'iuf':
        raise TypeError(f'thresholds: expected real numbers, got {thresholds.dtype}')
    if thresholds.ndim != 1 or thresholds.size == 0:
        raise ValueError(f'thresholds: expected the shape (T,) with at least one, got {thresholds.shape}')
    if thresholds.dtype.kind == 'f' and np.isnan(thresholds).any():
        raise ValueError('thresholds: expected numbers, got NaN')
    return thresholds
