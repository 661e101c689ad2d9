"""Metrics registered with MMEngine."""

from .localization_metric import LocalizationMetric
from .pixel_average_precision import PixelAveragePrecision

__all__ = ['LocalizationMetric', 'PixelAveragePrecision']
