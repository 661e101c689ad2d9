"""Backbones that return :class:`wsol_mm.structures.Features`."""

from .clip_vision_transformer import CLIPVisionTransformer
from .conformer import TokenConformer
from .inception_v3 import InceptionV3
from .layer_sequence import LayerSequence
from .mobilenet_v1 import MobileNetV1
from .relational_transformer import RelationalTransformer
from .spatial_token_transformer import SpatialTokenTransformer
from .timm_backbone import TimmBackbone
from .vgg16 import VGG16
from .vision_transformer import TokenVisionTransformer

__all__ = [
    'VGG16',
    'CLIPVisionTransformer',
    'InceptionV3',
    'LayerSequence',
    'MobileNetV1',
    'RelationalTransformer',
    'SpatialTokenTransformer',
    'TimmBackbone',
    'TokenConformer',
    'TokenVisionTransformer',
]
