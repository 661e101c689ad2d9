"""Hooks registered with MMEngine."""

from .class_count_hook import ClassCountHook
from .localization_visualization_hook import LocalizationVisualizationHook

__all__ = ['ClassCountHook', 'LocalizationVisualizationHook']
