"""Pictures of localization results through MMEngine's visualizer, and figures for documents."""

from .image_reading import read_image
from .localization_visualizer import LocalizationVisualizer
from .map_collection import ImageMaps, predict_with_maps
from .mlflow_backend import MLflowVisBackend
from .prediction_figures import PredictionPictures

__all__ = [
    'ImageMaps',
    'LocalizationVisualizer',
    'MLflowVisBackend',
    'PredictionPictures',
    'predict_with_maps',
    'read_image',
]
