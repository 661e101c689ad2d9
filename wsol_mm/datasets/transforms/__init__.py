"""Transforms that mmcv and mmpretrain lack."""

from .cropping import TenCrop
from .loading import LoadImageWithPillow, LoadLocalizationMask
from .packing import PackLocalizationInputs
from .pseudo_boxes import LoadPseudoBox
from .pseudo_maps import LoadPseudoMap
from .random_crops import RandomCrop, RandomResizedCrop

__all__ = [
    'LoadImageWithPillow',
    'LoadLocalizationMask',
    'LoadPseudoBox',
    'LoadPseudoMap',
    'PackLocalizationInputs',
    'RandomCrop',
    'RandomResizedCrop',
    'TenCrop',
]
