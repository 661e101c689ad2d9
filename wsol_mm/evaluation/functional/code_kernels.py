"""Compiled kernels between a map and its levels."""

import numba
import numpy as np


# NumPy's division, which asks for no exception, so that the compiler makes vector instructions of the loop.
@numba.njit(cache=True, nogil=True, error_model='numpy')
def normalized_codes(score, low, divisor, scale):
    """Codes ``truncate((score - low) / divisor * scale)``, each step in the type of the map.

    Args:
        score: (H, W) float32 or float64, contiguous.
        low, divisor, scale: Numbers of the same type.

    Returns:
        (H, W) uint8.
    """
    codes = np.empty(score.size, np.uint8)
    flat = score.reshape(-1)
    for i in range(flat.size):
        codes[i] = np.int32((flat[i] - low) / divisor * scale)
    return codes.reshape(score.shape)
