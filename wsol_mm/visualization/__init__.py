"""Pictures of localization results through MMEngine's visualizer."""

from .image_reading import read_image
from .localization_visualizer import LocalizationVisualizer

__all__ = ['LocalizationVisualizer', 'read_image']
