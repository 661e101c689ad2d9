"""Data structures that pass between the parts of the flow."""

from .crops import CENTER_CROP, NUM_CROPS
from .features import Features

__all__ = ['CENTER_CROP', 'NUM_CROPS', 'Features']
