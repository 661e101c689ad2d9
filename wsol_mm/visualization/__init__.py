"""Pictures of localization results through MMEngine's visualizer."""

from .localization_visualizer import LocalizationVisualizer

__all__ = ['LocalizationVisualizer']
