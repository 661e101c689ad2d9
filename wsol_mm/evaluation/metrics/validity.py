"""Tells predictions that are no numbers, and marks the metrics that they would enter."""

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray


def to_numpy(value: Any) -> NDArray:
    """Return a tensor of any device, or anything array-like, as a NumPy array."""
    return value.detach().cpu().numpy() if hasattr(value, 'detach') else np.asarray(value)


def all_finite(sample: Mapping[str, Any]) -> bool:
    """Tell whether the scores and the maps of a prediction are numbers.

    Args:
        sample: Prediction with ``loc_maps`` and, where there are scores, ``pred_score``.

    Returns:
        Whether none is NaN or infinite.
    """
    values = [to_numpy(sample[name]) for name in ('loc_maps', 'pred_score') if name in sample]
    return all(bool(np.isfinite(value).all()) for value in values)


def invalid_metrics(metrics: Mapping[str, float], count: int, total: int) -> dict[str, float]:
    """Return metrics as they are, or as NaN if predictions among them are no numbers, and say so.

    Args:
        metrics: Names to values.
        count: Images whose prediction is none.
        total: All images.

    Returns:
        Names to values.
    """
    if not count:
        return dict(metrics)
    print_log(
        f'{count} of {total} images: expected finite scores and maps of the model, got NaN or infinity: the '
        'metrics are invalid',
        logger='current',
        level=logging.ERROR,
    )
    return dict.fromkeys(metrics, math.nan)
