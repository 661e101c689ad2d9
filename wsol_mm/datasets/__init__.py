"""Data sets of images with labels and, for evaluation, boxes or masks."""

from .cub import CUB
from .dataset_problems import DatasetError, DatasetProblems
from .localization_dataset import LocalizationDataset
from .transforms import LoadImageWithPillow, LoadLocalizationMask, PackLocalizationInputs

__all__ = [
    'CUB',
    'DatasetError',
    'DatasetProblems',
    'LoadImageWithPillow',
    'LoadLocalizationMask',
    'LocalizationDataset',
    'PackLocalizationInputs',
]
