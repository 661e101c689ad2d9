"""Hooks registered with MMEngine."""

from .best_parts_hook import BestPartsHook
from .class_count_hook import ClassCountHook
from .class_names_hook import ClassNamesHook
from .feature_cache_hook import FeatureCacheHook
from .localization_visualization_hook import LocalizationVisualizationHook

__all__ = [
    'BestPartsHook',
    'ClassCountHook',
    'ClassNamesHook',
    'FeatureCacheHook',
    'LocalizationVisualizationHook',
]
