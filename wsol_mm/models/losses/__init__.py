"""Losses on localization maps."""

from .batch_area_loss import BatchAreaLoss
from .normalization_loss import NormalizationLoss

__all__ = ['BatchAreaLoss', 'NormalizationLoss']
