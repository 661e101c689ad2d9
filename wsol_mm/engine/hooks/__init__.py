"""Hooks registered with MMEngine."""

from .localization_visualization_hook import LocalizationVisualizationHook

__all__ = ['LocalizationVisualizationHook']
