"""Transforms that mmcv and mmpretrain lack."""

from .loading import LoadImageWithPillow, LoadLocalizationMask
from .packing import PackLocalizationInputs

__all__ = ['LoadImageWithPillow', 'LoadLocalizationMask', 'PackLocalizationInputs']
