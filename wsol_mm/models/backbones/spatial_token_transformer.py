"""Vision transformer with a spatial token (SAT, Wu et al., ICCV 2023)."""

from collections.abc import Sequence
from typing import Any

from wsol_mm.models.layers.spatial_query_attention import SpatialQueryEncoderLayer
from wsol_mm.registry import MODELS

import torch
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn

from .vision_transformer import TokenVisionTransformer


@MODELS.register_module()
class SpatialTokenTransformer(TokenVisionTransformer):
    """:class:`TokenVisionTransformer` with a spatial token that masks the attention of the last layers.

    The spatial token, with its own position embedding, is the last token. It takes part in all layers;
    in the last ``masked_layers`` of them its scaled query-key products become a foreground probability
    for every key, which weights the attention of all queries (:class:`SpatialQueryAttention`). The
    features carry these probabilities as ``'spatial_mask'`` (B, ``masked_layers``, h*w + 2).

    Args:
        arch: As in :class:`TokenVisionTransformer`.
        masked_layers: How many of the last layers are masked.
        layer_cfgs: Further arguments of every layer, or of each.
        **kwargs: Further arguments of :class:`TokenVisionTransformer`.

    Raises:
        ValueError: If ``masked_layers`` is less than 1 or more than the number of layers.
    """

    layer_class = SpatialQueryEncoderLayer
    gives = TokenVisionTransformer.gives | {'spatial_mask'}
    layer_map_titles = {'spatial_mask': 'spatial mask'}

    def __init__(
        self,
        arch: str | dict = 'deit-small',
        masked_layers: int = 3,
        layer_cfgs: dict | Sequence[dict] | None = None,
        **kwargs: Any,
    ) -> None:
        depth = self._settings_of(arch)['num_layers']
        if not 1 <= masked_layers <= depth:
            raise ValueError(
                f'masked_layers: expected an integer from 1 to {depth}, the number of layers, got '
                f'{masked_layers}'
            )
        layer_cfgs = {} if layer_cfgs is None else layer_cfgs
        if isinstance(layer_cfgs, dict):
            layer_cfgs = [layer_cfgs] * depth
        layer_cfgs = [
            dict(masked=index >= depth - masked_layers, **layer_cfg)
            for index, layer_cfg in enumerate(layer_cfgs)
        ]
        super().__init__(arch=arch, layer_cfgs=layer_cfgs, **kwargs)
        self.spatial_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))
        self.spatial_pos_embed = nn.Parameter(torch.zeros(1, 1, self.embed_dims))

    def init_weights(self) -> None:
        """Initialise as DeiT does; the spatial token and its position as the class token."""
        super().init_weights()
        if not (isinstance(self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained'):
            trunc_normal_(self.spatial_token, std=0.02)
            trunc_normal_(self.spatial_pos_embed, std=0.02)

    def fit_pretrained(self, weights: dict[str, Tensor]) -> list[str]:
        """Adapt pretrained weights; the spatial token and its position may be new."""
        own = ('backbone.spatial_token', 'backbone.spatial_pos_embed')
        return [*super().fit_pretrained(weights), *(name for name in own if name not in weights)]

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Turn images (B, 3, H, W) into tokens (B, h*w + 2, D), the spatial token last, and the grid."""
        tokens, grid = super().embed(x)
        spatial = self.drop_after_pos(
            (self.spatial_token + self.spatial_pos_embed).expand(x.shape[0], -1, -1)
        )
        return torch.cat((tokens, spatial), dim=1), grid
