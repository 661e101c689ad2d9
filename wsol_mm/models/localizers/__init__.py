"""Model types that join a backbone and a head, and what prepares their inputs."""

from .data_preprocessor import LocalizationDataPreprocessor
from .image_localizer import ImageLocalizer

__all__ = ['ImageLocalizer', 'LocalizationDataPreprocessor']
