"""Model types that join a backbone and a head, and what prepares their inputs."""

from .classifier_localizer import ClassifierLocalizer
from .clip_localizer import CLIPLocalizer
from .data_preprocessor import LocalizationDataPreprocessor
from .image_localizer import ImageLocalizer

__all__ = ['CLIPLocalizer', 'ClassifierLocalizer', 'ImageLocalizer', 'LocalizationDataPreprocessor']
