"""Data structures that pass between the parts of the flow."""

from .token_features import AttentionRequest, TokenFeatures

__all__ = ['AttentionRequest', 'TokenFeatures']
