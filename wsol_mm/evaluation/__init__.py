"""Evaluation: plain functions, protocols as data, and the metrics that run them."""

from .metrics import LocalizationMetric, PixelAveragePrecision
from .protocols import PRESETS, LocalizationProtocol, get_protocol

__all__ = ['PRESETS', 'LocalizationMetric', 'LocalizationProtocol', 'PixelAveragePrecision', 'get_protocol']
