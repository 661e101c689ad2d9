"""Hooks registered with MMEngine."""

from .class_count_hook import ClassCountHook
from .class_names_hook import ClassNamesHook
from .collapse_guard_hook import CollapseGuardHook
from .feature_cache_hook import FeatureCacheHook
from .localization_visualization_hook import LocalizationVisualizationHook

__all__ = [
    'ClassCountHook',
    'ClassNamesHook',
    'CollapseGuardHook',
    'FeatureCacheHook',
    'LocalizationVisualizationHook',
]
