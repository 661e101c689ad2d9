"""Metrics registered with MMEngine."""

from .dump_predictions import DumpPredictions
from .localization_metric import LocalizationMetric
from .pixel_average_precision import PixelAveragePrecision

__all__ = ['DumpPredictions', 'LocalizationMetric', 'PixelAveragePrecision']
