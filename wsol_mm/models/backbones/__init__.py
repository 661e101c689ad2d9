"""Backbones that return :class:`wsol_mm.structures.TokenFeatures`."""

from .conformer import TokenConformer
from .vision_transformer import TokenVisionTransformer

__all__ = ['TokenConformer', 'TokenVisionTransformer']
