"""Backbones that return :class:`wsol_mm.structures.Features`."""

from .conformer import TokenConformer
from .relational_transformer import RelationalTransformer
from .spatial_token_transformer import SpatialTokenTransformer
from .timm_backbone import TimmBackbone
from .vision_transformer import TokenVisionTransformer

__all__ = [
    'RelationalTransformer',
    'SpatialTokenTransformer',
    'TimmBackbone',
    'TokenConformer',
    'TokenVisionTransformer',
]
