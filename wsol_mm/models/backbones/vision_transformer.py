"""Vision transformer that returns its patch grid and, on request, its attention."""

import math
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from wsol_mm.models.layers import TokenEncoderLayer
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features
from wsol_mm.structures.features import check_needs

import torch
from mmengine.model import ModuleList
from mmengine.model.weight_init import trunc_normal_
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

_POS_EMBED, _PATCH_WEIGHT = 'backbone.pos_embed', 'backbone.patch_embed.projection.weight'


def _arch(embed_dims: int, num_layers: int, num_heads: int, feedforward_channels: int) -> dict:
    return dict(
        embed_dims=embed_dims,
        num_layers=num_layers,
        num_heads=num_heads,
        feedforward_channels=feedforward_channels,
    )


@MODELS.register_module()
class TokenVisionTransformer(VisionTransformer):
    """ViT / DeiT on mmpretrain's layers and parameter names, returning :class:`Features`.

    One class for every size, patch grid and input size: an input of another size than ``img_size``
    is met by interpolating the position embedding.

    Args:
        arch: ``'deit-tiny'``, ``'deit-small'``, ``'deit-base'``, ``'vit-tiny'``, ``'vit-small'`` (short:
            ``'deit-t'``, ``'vit-s'``, ...), a name of mmpretrain's ``VisionTransformer`` (its ``'small'`` is
            the older ViT-S of 8 layers and width 768), or a dict with ``embed_dims``, ``num_layers``,
            ``num_heads`` and ``feedforward_channels``.
        img_size: Side, or height and width, that the position embedding is for.
        patch_size: Side of a patch.
        in_channels: Channels of the image.
        drop_rate: Dropout after the position embedding, the projections and in the MLPs.
        attn_drop_rate: Dropout of the attention weights.
        drop_path_rate: Stochastic depth rate of the last layer; it grows linearly from 0.
        qkv_bias: Whether q, k and v have a bias.
        qk_scale: Factor on q k^T; ``head_dims ** -0.5`` if None.
        layer_scale_init_value: Initial scale of what each half of a layer adds, of every channel; no such
            scales if 0. Weights of DINOv2 have them.
        norm_cfg: Of all layer norms.
        interpolate_mode: How the position embedding is interpolated: a mode of PyTorch's ``interpolate``, or
            ``'timm'``, as timm does (bicubic, antialiased).
        frozen_stages: Freeze the embeddings and this many layers; nothing if not positive.
        layer_cfgs: Further arguments of every layer, or of each.
        init_cfg: Initialisation config.

    Raises:
        ValueError: If ``arch`` is not one of the accepted values.
    """

    arch_zoo = {
        **VisionTransformer.arch_zoo,
        **dict.fromkeys(['vit-t', 'vit-tiny'], _arch(192, 12, 3, 768)),
        **dict.fromkeys(['vit-s', 'vit-small'], _arch(384, 12, 6, 1536)),
    }
    #: Class of the encoder layers; a backbone with other layers overrides this.
    layer_class: type[TokenEncoderLayer] = TokenEncoderLayer
    #: What :meth:`forward` can return beyond the feature map.
    gives: frozenset[str] = frozenset({'cls_token', 'class_attention', 'full_attention'})
    #: Entries of ``extras`` with a row over all tokens for every layer, (B, L, N): their titles in pictures.
    layer_map_titles: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        arch: str | dict = 'deit-small',
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        layer_scale_init_value: float = 0.0,
        norm_cfg: dict | None = None,
        interpolate_mode: str = 'bicubic',
        frozen_stages: int = -1,
        layer_cfgs: dict | Sequence[dict] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        settings = self._settings_of(arch)
        norm_cfg = dict(type='LN', eps=1e-6) if norm_cfg is None else norm_cfg
        # The parent always builds layers of its own class, so it is told to build none.
        super().__init__(
            arch={**settings, 'num_layers': 0},
            img_size=img_size,
            patch_size=patch_size,
            in_channels=in_channels,
            out_indices=0,
            drop_rate=drop_rate,
            norm_cfg=norm_cfg,
            out_type='raw',
            interpolate_mode=interpolate_mode,
            init_cfg=init_cfg,
        )
        self.arch_settings = settings
        self.num_layers = settings['num_layers']
        self.out_indices = [self.num_layers - 1]
        layer_cfgs = {} if layer_cfgs is None else layer_cfgs
        if isinstance(layer_cfgs, dict):
            layer_cfgs = [layer_cfgs] * self.num_layers
        common = dict(
            embed_dims=self.embed_dims,
            num_heads=settings['num_heads'],
            feedforward_channels=settings['feedforward_channels'],
            drop_rate=drop_rate,
            attn_drop_rate=attn_drop_rate,
            qkv_bias=qkv_bias,
            qk_scale=qk_scale,
            layer_scale_init_value=layer_scale_init_value,
            norm_cfg=norm_cfg,
        )
        rates = torch.linspace(0, drop_path_rate, self.num_layers, device='cpu').tolist()
        self.layers = ModuleList(
            self.layer_class(**{**common, 'drop_path_rate': rate, **layer_cfg})
            for rate, layer_cfg in zip(rates, layer_cfgs, strict=True)
        )
        self.frozen_stages = frozen_stages
        if frozen_stages > 0:
            self._freeze_stages()

    @classmethod
    def _settings_of(cls, arch: str | dict) -> dict:
        if isinstance(arch, str):
            if arch.lower() not in cls.arch_zoo:
                raise ValueError(f'arch: expected one of {sorted(cls.arch_zoo)} or a dict, got {arch!r}')
            return cls.arch_zoo[arch.lower()]
        missing = {'embed_dims', 'num_layers', 'num_heads', 'feedforward_channels'} - set(arch)
        if missing:
            raise ValueError(f'arch: expected the keys {sorted(missing)} too, got {dict(arch)!r}')
        return dict(arch)

    def init_weights(self) -> None:
        """Initialise as DeiT does; the patch convolution keeps PyTorch's default."""
        super().init_weights()
        if not (isinstance(self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained'):
            trunc_normal_(self.cls_token, std=0.02)
            nn.init.ones_(self.ln1.weight)
            nn.init.zeros_(self.ln1.bias)

    def fit_pretrained(self, weights: dict[str, Tensor]) -> list[str]:
        """Adapt pretrained weights: another patch grid, and the files of the first timm releases.

        Those store the patch embedding as a linear layer, and q, k and v have no bias; here it starts at 0
        then (docs/specifications/scm.md, section 2.5).

        Args:
            weights: All weights of a file, under the names of the whole model (``backbone.pos_embed``) or,
                where no layout knows them, of the file; changed in place.

        Returns:
            Names in the whole model of what may keep its initial values: those biases, of such a file.

        Raises:
            ValueError: If the position embedding is not that of a square grid.
        """
        places, projection = weights.get(_POS_EMBED), weights.get(_PATCH_WEIGHT)
        if places is not None:
            distilled = any(name.rpartition('.')[2] == 'dist_token' for name in weights)
            weights[_POS_EMBED] = self._fit_pos_embed(places, distilled)
        own = self.patch_embed.projection.weight
        if projection is None or projection.dim() != 2 or projection.numel() != own.numel():
            return []
        weights[_PATCH_WEIGHT] = projection.reshape(own.shape)
        own_biases = [
            name for name, _ in self.named_parameters(prefix='backbone') if name.endswith('qkv.bias')
        ]
        return [name for name in own_biases if name not in weights]

    def _fit_pos_embed(self, places: Tensor, distilled: bool) -> Tensor:
        """Return a position embedding (1, N, D) for this patch grid.

        The second place of a distilled DeiT belongs to its distillation token, which is not used here.
        """
        if distilled:
            places = torch.cat((places[:, :1], places[:, 2:]), dim=1)
        extra = self.num_extra_tokens
        if places.shape[1] == self.pos_embed.shape[1]:
            return places
        side = math.isqrt(places.shape[1] - extra)
        if side * side != places.shape[1] - extra:
            raise ValueError(
                f'position embedding: expected {extra} and a square number of places, to interpolate it to '
                f'the grid {self.patch_resolution}, got {places.shape[1]}'
            )
        return self._resized(places, (side, side), self.patch_resolution)

    def _resized(self, places: Tensor, grid: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
        """Return a position embedding (1, N, D) of one grid, (h, w), for another."""
        extra = self.num_extra_tokens
        if self.interpolate_mode == 'timm' and tuple(grid) != tuple(wanted):
            return resample_abs_pos_embed(places, list(wanted), list(grid), num_prefix_tokens=extra)
        return resize_pos_embed(places, grid, wanted, self.interpolate_mode, extra)

    def _prepare_pos_embed(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Resize the position embedding of a checkpoint; mmpretrain calls it before one is loaded."""
        name = f'{prefix}pos_embed'
        if self.interpolate_mode == 'timm' and name in state_dict:
            state_dict[name] = self._fit_pos_embed(state_dict[name], distilled=False)
        super()._prepare_pos_embed(state_dict, prefix, *args, **kwargs)

    def train(self, mode: bool = True) -> 'TokenVisionTransformer':
        """Set the mode and return the module, as PyTorch's modules do and mmpretrain's backbones do not."""
        super().train(mode)
        return self

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Turn images (B, 3, H, W) into tokens (B, N, D), class token first, and the grid (h, w)."""
        x, grid = self.patch_embed(x)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        x = x + self._resized(self.pos_embed, self.patch_resolution, grid)
        return self.drop_after_pos(x), grid

    def forward(self, x: Tensor, needs: Collection[str] = ()) -> Features:
        """Run the backbone.

        Args:
            x: Normalised images, (B, 3, H, W).
            needs: What to return beyond the feature map, of ``gives``: ``'class_attention'`` costs O(N) more
                work, ``'full_attention'`` O(N^2).

        Returns:
            Feature map, class token and what was asked for.

        Raises:
            ValueError: If it cannot give what is asked for.
        """
        check_needs(needs, self.gives, type(self).__name__)
        tokens, grid = self.embed(x)
        layer_maps = []
        for layer in self.layers:
            tokens, maps = layer(tokens, needs)
            layer_maps.append(maps)
        return Features.from_tokens(self.ln1(tokens), grid, layer_maps)
