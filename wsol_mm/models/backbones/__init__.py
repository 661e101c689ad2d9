"""Backbones that return :class:`wsol_mm.structures.TokenFeatures`."""

from .vision_transformer import TokenVisionTransformer

__all__ = ['TokenVisionTransformer']
