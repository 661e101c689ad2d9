"""Tells predictions that are no numbers, and marks the metrics that they would enter."""

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.logging import print_log


def all_finite(sample: Mapping[str, Any]) -> bool:
    """Tell whether the scores and the maps of a prediction are numbers.

    Args:
        sample: Prediction, in NumPy, with ``loc_maps`` and, where there are scores, ``pred_score``.

    Returns:
        Whether none is NaN or infinite.
    """
    values = (sample[name] for name in ('loc_maps', 'pred_score') if name in sample)
    return all(bool(np.isfinite(value).all()) for value in values)


def invalid_metrics(
    metrics: Mapping[str, float], count: int, total: int, others: Mapping[str, float]
) -> dict[str, float]:
    """Return metrics as NaN, because predictions among them are no numbers, and say so.

    Args:
        metrics: Names to values.
        count: Images whose prediction is none.
        total: All images.
        others: The metrics of the other images alone, for the log; they are no result of this data set.

    Returns:
        Names to values.
    """
    values = ', '.join(f'{name}: {value:.4f}' for name, value in others.items())
    alone = f'. Of the other {total - count} images alone: {values}' if values else ''
    print_log(
        f'{count} of {total} images: expected finite scores and maps of the model, got NaN or infinity: the '
        f'metrics are invalid{alone}',
        logger='current',
        level=logging.ERROR,
    )
    return dict.fromkeys(metrics, math.nan)
