"""Transforms that mmcv and mmpretrain lack."""

from .cropping import TenCrop
from .loading import LoadImageWithPillow, LoadLocalizationMask
from .packing import PackLocalizationInputs
from .pseudo_maps import LoadPseudoMap

__all__ = [
    'LoadImageWithPillow',
    'LoadLocalizationMask',
    'LoadPseudoMap',
    'PackLocalizationInputs',
    'TenCrop',
]
