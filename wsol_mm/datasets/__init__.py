"""Data sets of images with labels and, for evaluation, boxes or masks."""

from .cached_features import CachedFeatures
from .cub import CUB
from .dataset_problems import DatasetError, DatasetProblems, UnreadableImage
from .fgvc_aircraft import FGVCAircraft
from .folder_dataset import FolderDataset
from .ilsvrc import ILSVRC
from .localization_dataset import LocalizationDataset
from .openimages import OpenImages
from .seeded_samples import SeededSamples
from .stanford_cars import StanfordCars
from .stanford_dogs import StanfordDogs
from .transforms import LoadImageWithPillow, LoadLocalizationMask, PackLocalizationInputs, TenCrop
from .wsol_metadata import WSOLMetadataDataset

__all__ = [
    'CUB',
    'CachedFeatures',
    'ILSVRC',
    'DatasetError',
    'DatasetProblems',
    'FGVCAircraft',
    'FolderDataset',
    'LoadImageWithPillow',
    'LoadLocalizationMask',
    'LocalizationDataset',
    'OpenImages',
    'PackLocalizationInputs',
    'SeededSamples',
    'StanfordCars',
    'StanfordDogs',
    'TenCrop',
    'UnreadableImage',
    'WSOLMetadataDataset',
]
