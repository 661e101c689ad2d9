"""Data structures that pass between the parts of the flow."""

from .crops import CENTER_CROP, NUM_CROPS
from .token_features import AttentionRequest, TokenFeatures

__all__ = ['CENTER_CROP', 'NUM_CROPS', 'AttentionRequest', 'TokenFeatures']
