"""Pieces of which backbones and heads are made, each usable alone."""

from .class_attention import class_token_attention
from .semantic_conv import SemanticConv
from .token_attention import TokenAttention
from .token_encoder_layer import TokenEncoderLayer, init_transformer_weights

__all__ = [
    'SemanticConv',
    'TokenAttention',
    'TokenEncoderLayer',
    'class_token_attention',
    'init_transformer_weights',
]
