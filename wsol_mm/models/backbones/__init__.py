"""Backbones that return :class:`wsol_mm.structures.Features`."""

from .conformer import TokenConformer
from .mobilenet_v1 import MobileNetV1
from .relational_transformer import RelationalTransformer
from .spatial_token_transformer import SpatialTokenTransformer
from .timm_backbone import TimmBackbone
from .vision_transformer import TokenVisionTransformer

__all__ = [
    'MobileNetV1',
    'RelationalTransformer',
    'SpatialTokenTransformer',
    'TimmBackbone',
    'TokenConformer',
    'TokenVisionTransformer',
]
