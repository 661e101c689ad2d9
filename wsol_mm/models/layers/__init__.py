"""Pieces of which backbones and heads are made, each usable alone."""

from .attention_rollout import attention_rollout, rollout_map, rollout_row
from .class_attention import class_token_attention
from .semantic_conv import SemanticConv
from .token_attention import TokenAttention
from .token_encoder_layer import TokenEncoderLayer, init_transformer_weights

__all__ = [
    'SemanticConv',
    'TokenAttention',
    'TokenEncoderLayer',
    'attention_rollout',
    'class_token_attention',
    'init_transformer_weights',
    'rollout_map',
    'rollout_row',
]
