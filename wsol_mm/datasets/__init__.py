"""Data sets of images with labels and, for evaluation, boxes or masks."""

from .cub import CUB
from .dataset_problems import DatasetError, DatasetProblems
from .folder_dataset import FolderDataset
from .ilsvrc import ILSVRC
from .localization_dataset import LocalizationDataset
from .transforms import LoadImageWithPillow, LoadLocalizationMask, PackLocalizationInputs, TenCrop
from .wsol_metadata import WSOLMetadataDataset

__all__ = [
    'CUB',
    'ILSVRC',
    'DatasetError',
    'DatasetProblems',
    'FolderDataset',
    'LoadImageWithPillow',
    'LoadLocalizationMask',
    'LocalizationDataset',
    'PackLocalizationInputs',
    'TenCrop',
    'WSOLMetadataDataset',
]
