"""Transforms that mmcv and mmpretrain lack."""

from .cropping import TenCrop
from .loading import LoadImageWithPillow, LoadLocalizationMask
from .packing import PackLocalizationInputs

__all__ = ['LoadImageWithPillow', 'LoadLocalizationMask', 'PackLocalizationInputs', 'TenCrop']
