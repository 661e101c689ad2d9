"""Backbones that return :class:`wsol_mm.structures.TokenFeatures`."""

from .conformer import TokenConformer
from .spatial_token_transformer import SpatialTokenTransformer
from .vision_transformer import TokenVisionTransformer

__all__ = ['SpatialTokenTransformer', 'TokenConformer', 'TokenVisionTransformer']
