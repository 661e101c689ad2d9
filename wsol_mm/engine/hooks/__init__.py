"""Hooks registered with MMEngine."""

from .best_parts_hook import BestPartsHook
from .checkpoint_hook import CheckpointHook
from .class_count_hook import ClassCountHook
from .class_names_hook import ClassNamesHook
from .feature_cache_hook import FeatureCacheHook
from .finite_loss_hook import FiniteLossHook
from .localization_visualization_hook import LocalizationVisualizationHook
from .map_guard_hook import MapGuardHook
from .runtime_info_hook import RuntimeInfoHook

__all__ = [
    'BestPartsHook',
    'CheckpointHook',
    'ClassCountHook',
    'ClassNamesHook',
    'FeatureCacheHook',
    'FiniteLossHook',
    'LocalizationVisualizationHook',
    'MapGuardHook',
    'RuntimeInfoHook',
]
