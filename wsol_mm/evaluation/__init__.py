"""Evaluation: plain functions, protocols as data, and the metrics that run them.

Protocols need NumPy alone; the metrics, in :mod:`wsol_mm.evaluation.metrics`, are imported from there.
"""

from .protocols import PRESETS, LocalizationProtocol, get_protocol

__all__ = ['PRESETS', 'LocalizationProtocol', 'get_protocol']
