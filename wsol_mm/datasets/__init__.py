"""Data sets of images with labels and, for evaluation, boxes or masks."""

from .cub import CUB
from .dataset_problems import DatasetError, DatasetProblems
from .localization_dataset import LocalizationDataset
from .transforms import PackLocalizationInputs

__all__ = [
    'CUB',
    'DatasetError',
    'DatasetProblems',
    'LocalizationDataset',
    'PackLocalizationInputs',
]
