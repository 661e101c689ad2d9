"""Transformer encoder layer that hands its attention on."""

from collections.abc import Collection
from typing import Any

from wsol_mm.structures.features import LayerMaps

from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn

from .token_attention import TokenAttention


def init_transformer_weights(module: nn.Module) -> None:
    """Initialise linear layers and layer norms below ``module`` as DeiT does; leave all else alone.

    Linear weights are normal with standard deviation 0.02 (cut at +-2), biases 0; LayerNorm 1 and 0.
    Convolutions keep PyTorch's default.
    """
    for child in module.modules():
        if isinstance(child, nn.Linear):
            trunc_normal_(child.weight, std=0.02)
            if child.bias is not None:
                nn.init.zeros_(child.bias)
        elif isinstance(child, nn.LayerNorm):
            nn.init.ones_(child.weight)
            nn.init.zeros_(child.bias)


class TokenEncoderLayer(TransformerEncoderLayer):
    """Pre-norm encoder layer on :class:`TokenAttention`, with mmpretrain's parameter names.

    Both residual branches have their own drop-path, so they are dropped independently.

    Args:
        embed_dims: Embedding dimension D.
        num_heads: Number of heads.
        feedforward_channels: Hidden width of the MLP.
        drop_rate: Dropout after the projection and in the MLP.
        attn_drop_rate: Dropout of the attention weights.
        drop_path_rate: Stochastic depth rate of both branches.
        qkv_bias: Whether q, k and v have a bias.
        qk_scale: See :class:`TokenAttention`.
        layer_scale_init_value: See mmpretrain's ``TransformerEncoderLayer``.
        **kwargs: Further arguments of mmpretrain's ``TransformerEncoderLayer``.
    """

    #: Class of the attention; a subclass with another attention overrides this alone.
    attention_class: type[TokenAttention] = TokenAttention

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        feedforward_channels: int,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        layer_scale_init_value: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            embed_dims,
            num_heads,
            feedforward_channels,
            layer_scale_init_value=layer_scale_init_value,
            drop_rate=drop_rate,
            attn_drop_rate=attn_drop_rate,
            drop_path_rate=drop_path_rate,
            qkv_bias=qkv_bias,
            **kwargs,
        )
        self.attn = self.attention_class(
            embed_dims=embed_dims,
            num_heads=num_heads,
            attn_drop=attn_drop_rate,
            proj_drop=drop_rate,
            dropout_layer=dict(type='DropPath', drop_prob=drop_path_rate),
            qkv_bias=qkv_bias,
            qk_scale=qk_scale,
            layer_scale_init_value=layer_scale_init_value,
        )

    def init_weights(self) -> None:
        """Initialise as DeiT does (the parent's Xavier rule for the MLP is not used)."""
        BaseModule.init_weights(self)
        init_transformer_weights(self)

    def forward(self, x: Tensor, needs: Collection[str] = ()) -> tuple[Tensor, LayerMaps]:
        """Run the layer.

        Args:
            x: Tokens, (B, N, D).
            needs: Names of the maps to return as well.

        Returns:
            Tokens (B, N, D) and the maps of the attention.
        """
        update, maps = self.attn(self.ln1(x), needs)
        x = x + update
        x = self.ffn(self.ln2(x), identity=x)
        return x, maps
