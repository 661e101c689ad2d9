"""Transforms that mmcv and mmpretrain lack."""

from .packing import PackLocalizationInputs

__all__ = ['PackLocalizationInputs']
