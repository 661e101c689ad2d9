"""What a backbone hands to a localization head."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

#: How much of the attention a head asks its backbone for.
AttentionRequest = Literal['none', 'class', 'propagated', 'full']

ATTENTION_REQUESTS: tuple[str, ...] = ('none', 'class', 'propagated', 'full')

#: What one layer shows of its attention: any of the fields of :class:`TokenFeatures` that have an
#: entry per layer, without the axis L.
LayerMaps = dict[str, Tensor]


class TokenFeatures(NamedTuple):
    """Features of a transformer backbone, on its patch grid of h x w (N = 1 + h*w tokens).

    Attributes:
        patch_map (Tensor): Patch tokens after the final normalisation, (B, D, h, w), row-major.
        cls_token (Tensor): Class token after the final normalisation, (B, D).
        attention (Tensor | None): None if it was not asked for. ``'class'``: soft-max row of the
            class token over all N keys, (B, L, H, N) for L layers and H heads, the class token's own
            key first, so ``attention[..., 1:]`` belongs to the patches and is not re-normalised.
            ``'full'``: the whole attention, (B, L, H, N, N). Never in half precision.
        conv_map (Tensor | None): Last feature map of a hybrid backbone's convolutional branch,
            (B, C, h', w'); None for a plain transformer.
        propagated (Tensor | None): ``'propagated'``: the class token's row, propagated once more
            through the attention of its layer (LCTR's RPAM), (B, L, N); ``attention`` is then as for
            ``'class'``.
        spatial_mask (Tensor | None): Foreground probability of every token, (B, M, N), one row for
            each of the M layers that spatial-query attention masks (SAT); the last key is the spatial
            token.
        kernel_weights (Tensor | None): Weights of the kernels that a head mixes for every image (LCTR),
            (B, E); put here by the head itself.
        images (Tensor | None): The network's input, (B, 3, H, W), in training, for heads that look at it
            (CDTR); put here by :class:`wsol_mm.models.localizers.ImageLocalizer`.
    """

    patch_map: Tensor
    cls_token: Tensor
    attention: Tensor | None = None
    conv_map: Tensor | None = None
    propagated: Tensor | None = None
    spatial_mask: Tensor | None = None
    kernel_weights: Tensor | None = None
    images: Tensor | None = None

    @classmethod
    def from_tokens(
        cls,
        tokens: Tensor,
        grid: tuple[int, int],
        layer_maps: Sequence[Mapping[str, Tensor]],
        conv_map: Tensor | None = None,
    ) -> 'TokenFeatures':
        """Arrange the tokens of a backbone.

        Args:
            tokens (Tensor): Normalised tokens, (B, N, D), the class token first, then the patches, then
                what a method adds.
            grid (tuple[int, int]): Height and width of the patch grid.
            layer_maps (Sequence[Mapping[str, Tensor]]): What each layer shows of its attention, by the
                name of its field here. Layers may differ: a field has an entry for each that shows it.
            conv_map (Tensor, optional): Last feature map of the convolutional branch.

        Returns:
            TokenFeatures: The features.
        """
        height, width = grid
        patches = tokens[:, 1 : 1 + height * width].transpose(1, 2)
        shown = {name for maps in layer_maps for name in maps}
        stacked = {
            name: torch.stack([maps[name] for maps in layer_maps if name in maps], dim=1) for name in shown
        }
        return cls(patches.unflatten(2, (height, width)), tokens[:, 0], conv_map=conv_map, **stacked)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the patch grid."""
        return self.patch_map.shape[-2], self.patch_map.shape[-1]


def check_attention_request(out_attention: str) -> str:
    """Return ``out_attention`` if it is one of the accepted requests.

    Raises:
        ValueError: If it is not.
    """
    if out_attention not in ATTENTION_REQUESTS:
        raise ValueError(f'out_attention must be one of {ATTENTION_REQUESTS}, got {out_attention!r}')
    return out_attention
