"""The runner of trainings and tests."""

from .localization_runner import LocalizationRunner

__all__ = ['LocalizationRunner']
