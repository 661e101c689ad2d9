"""Conformer that returns its patch grid, its last feature map and, on request, its attention."""

from collections.abc import Collection

from wsol_mm.models.layers import TokenEncoderLayer
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features
from wsol_mm.structures.features import LayerMaps, check_needs

import torch
from mmpretrain.models.backbones import Conformer
from mmpretrain.models.backbones.conformer import ConvBlock, ConvTransBlock
from torch import Tensor, nn


@MODELS.register_module()
class TokenConformer(Conformer):
    """Conformer on mmpretrain's blocks and parameter names, returning :class:`Features`.

    It differs from mmpretrain's in what WSOL methods need (docs/specifications/ts_cam.md, section 2.3): the
    transformer layers hand on their attention, drop-path acts in them alone (not in the convolutional
    blocks), no BatchNorm starts at zero, and BatchNorm is trained. There is no position embedding, so any
    input size works; sides that are no multiple of the patch are padded at the bottom right.

    Args:
        arch: ``'tiny'``, ``'small'``, ``'base'`` (``'t'``, ``'s'``, ``'b'``), or a dict with ``embed_dims``,
            ``depths``, ``num_heads`` and ``channel_ratio`` (may be a fraction).
        patch_size: Side of a patch, a multiple of 16.
        mlp_ratio: Hidden width of the MLPs over ``embed_dims``.
        qkv_bias: Whether q, k and v have a bias.
        qk_scale: Factor on q k^T; ``head_dims ** -0.5`` if None.
        drop_rate: Dropout of the transformer layers' projections and MLPs.
        attn_drop_rate: Dropout of the attention weights.
        drop_path_rate: Stochastic depth rate of the last layer; it grows linearly from 0.
        init_cfg: Initialisation config.

    Raises:
        ValueError: If ``arch``, its depth or ``patch_size`` is not acceptable.
    """

    #: Class of the transformer layers; a backbone with other layers overrides this.
    layer_class: type[TokenEncoderLayer] = TokenEncoderLayer
    #: What :meth:`forward` can return beyond the feature map.
    gives: frozenset[str] = frozenset({'cls_token', 'class_attention', 'full_attention', 'conv_map'})

    def __init__(
        self,
        arch: str | dict = 'small',
        patch_size: int = 16,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        if patch_size < 16 or patch_size % 16:
            raise ValueError(f'patch_size: expected a multiple of 16, got {patch_size}')
        super().__init__(
            arch=self._settings_of(arch),
            patch_size=patch_size,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            drop_path_rate=0.0,
            norm_eval=False,
            init_cfg=init_cfg,
        )
        rates = torch.linspace(0, drop_path_rate, self.depths, device='cpu').tolist()
        layers = [
            self.layer_class(
                embed_dims=self.embed_dims,
                num_heads=self.num_heads,
                feedforward_channels=int(self.embed_dims * mlp_ratio),
                drop_rate=drop_rate,
                attn_drop_rate=attn_drop_rate,
                drop_path_rate=rate,
                qkv_bias=qkv_bias,
                qk_scale=qk_scale,
                norm_cfg=dict(type='LN', eps=1e-6),
            )
            for rate in rates
        ]
        # The parent's layers return no attention.
        self.trans_1 = layers[0]
        for block, layer in zip(self.fusion_stages, layers[1:], strict=True):
            block.trans_block = layer

    @classmethod
    def _settings_of(cls, arch: str | dict) -> dict:
        if isinstance(arch, str):
            if arch.lower() not in cls.arch_zoo:
                raise ValueError(f'arch: expected one of {sorted(cls.arch_zoo)} or a dict, got {arch!r}')
            return cls.arch_zoo[arch.lower()]
        keys = {'embed_dims', 'depths', 'num_heads', 'channel_ratio'}
        if set(arch) != keys:
            raise ValueError(f'arch: expected the keys {sorted(keys)}, got {sorted(arch)}')
        if arch['depths'] % 3 or arch['depths'] < 3:
            raise ValueError(f"arch['depths']: expected a multiple of 3 (three stages), got {arch['depths']}")
        return dict(arch)

    @property
    def fusion_stages(self) -> list[ConvTransBlock]:
        """The blocks ``conv_trans_2`` ... ``conv_trans_L``, in order."""
        return [getattr(self, f'conv_trans_{i}') for i in range(2, self.depths + 1)]

    @property
    def patch_size(self) -> tuple[int, int]:
        """Height and width of a patch: its convolution sees what the stem leaves, a quarter of the image."""
        height, width = self.trans_patch_conv.stride
        return 4 * height, 4 * width

    @property
    def conv_channels(self) -> int:
        """Channels of ``conv_map``."""
        return self.fusion_stages[-1].fusion_block.bn3.num_features

    def _init_weights(self, m: nn.Module) -> None:
        # A ConvBlock has no weights of its own; the parent would zero its last BatchNorm here.
        if not isinstance(m, ConvBlock):
            super()._init_weights(m)

    def train(self, mode: bool = True) -> 'TokenConformer':
        """Set the mode and return the module, as PyTorch's modules do and mmpretrain's backbones do not."""
        super().train(mode)
        return self

    def forward(self, x: Tensor, needs: Collection[str] = ()) -> Features:
        """Run the backbone.

        Args:
            x: Normalised images, (B, 3, H, W).
            needs: What to return beyond the feature map, of ``gives``: ``'class_attention'`` costs O(N) more
                work, ``'full_attention'`` O(N^2).

        Returns:
            Feature map, class token, ``conv_map`` and what was asked for.

        Raises:
            ValueError: If it cannot give what is asked for.
        """
        check_needs(needs, self.gives, type(self).__name__)
        stem = self.auto_pad(self.maxpool(self.act1(self.bn1(self.conv1(x)))))
        conv_map = self.conv_1(stem, out_conv2=False)
        patches = self.trans_patch_conv(stem)
        grid = patches.shape[-2:]
        tokens = torch.cat(
            (self.cls_token.expand(x.shape[0], -1, -1), patches.flatten(2).transpose(1, 2)), dim=1
        )
        tokens, maps = self.trans_1(tokens, needs)
        layer_maps = [maps]
        for block in self.fusion_stages:
            conv_map, tokens, maps = self._run_stage(block, conv_map, tokens, needs)
            layer_maps.append(maps)
        return Features.from_tokens(self.trans_norm(tokens), grid, layer_maps, conv_map=conv_map)

    @staticmethod
    def _run_stage(
        block: ConvTransBlock, conv_map: Tensor, tokens: Tensor, needs: Collection[str]
    ) -> tuple[Tensor, Tensor, LayerMaps]:
        """Run one block: features to tokens, the transformer layer, tokens back to features.

        The squeeze block prepends the class token of ``tokens``, which the sum then doubles: so does
        the reference.
        """
        conv_map, inner = block.cnn_block(conv_map)
        squeezed = block.squeeze_block(inner, tokens)
        tokens, maps = block.trans_block(squeezed + tokens, needs)
        height, width = (side // block.down_stride for side in inner.shape[-2:])
        expanded = block.expand_block(tokens, height, width)
        conv_map = block.fusion_block(conv_map, fusion_features=expanded, out_conv2=False)
        return conv_map, tokens, maps
