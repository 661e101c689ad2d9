"""Inference for users: from images, arrays and folders to boxes."""

from .localization_inferencer import LocalizationInferencer
from .localization_result import LocalizationResult
from .model_loading import list_model_names

__all__ = ['LocalizationInferencer', 'LocalizationResult', 'list_model_names']
