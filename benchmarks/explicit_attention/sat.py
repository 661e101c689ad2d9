"""SAT with explicit attention (Wu et al., ICCV 2023)."""

import math
from typing import Any

from wsol_mm.models.localizers import ImageLocalizer

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .vit import ExplicitAttention, ExplicitViT


def filter_kernel(size: int = 3, sigmas: float = 6.0) -> Tensor:
    """Return the filter of the normalization loss, (1, 1, size, size), summing to 1."""
    half_step = (2 * sigmas + 1) / size / 2
    points = torch.linspace(-sigmas - half_step, sigmas + half_step, size + 1, dtype=torch.float64)
    cumulative = points.double().apply_(lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2))))
    kernel = torch.outer(cumulative.diff(), cumulative.diff()).sqrt()
    return (kernel / kernel.sum()).float()[None, None]


class SpatialQueryAttention(ExplicitAttention):
    """Attention whose last token says how much every key is foreground.

    Args:
        masked: Whether the soft-max is multiplied by that mask.
        **kwargs: Of :class:`ExplicitAttention`.
    """

    def __init__(self, masked: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.masked = masked

    def weigh(self, scores: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the weights of the values; the weights (B, H, N, N) and the mask (B, N) are kept."""
        mask = scores.mean(dim=1)[:, -1].sigmoid()
        weights = scores.softmax(dim=-1)
        if self.masked:
            weights = weights * mask[:, None, None]
        return weights, (weights, mask)


class ExplicitSAT(ExplicitViT, head='SATHead', targets={'train': 1.15, 'inference': 1.25}):
    """A spatial token whose mask multiplies the attention of the last blocks and is the map.

    Args:
        area_threshold: Area that the batch's mean map is drawn to.
        num_masked: The mask acts in this many last blocks.
        **kwargs: Of :class:`ExplicitViT`.
    """

    def __init__(self, area_threshold: float = 0.25, num_masked: int = 3, **kwargs: Any) -> None:
        self.num_masked = num_masked
        super().__init__(**kwargs)
        self.area_threshold = area_threshold
        embed_dims = self.norm.normalized_shape[0]
        self.loc_token = nn.Parameter(torch.randn(1, 1, embed_dims) * 0.02)
        self.loc_embed = nn.Parameter(torch.randn(1, 1, embed_dims) * 0.02)
        self.weight = nn.Parameter(filter_kernel(), requires_grad=False)
        self.head = nn.Conv2d(embed_dims, self.num_classes, kernel_size=3, padding=1)

    @classmethod
    def settings(cls, localizer: ImageLocalizer) -> dict[str, Any]:
        """Return the wanted area and the number of masked blocks."""
        masked = [layer.attn.masked for layer in localizer.backbone.layers]
        return {'area_threshold': localizer.head.area_loss.target_area, 'num_masked': sum(masked)}

    def make_attention(
        self, index: int, depth: int, embed_dims: int, num_heads: int, scale: float, qkv_bias: bool
    ) -> ExplicitAttention:
        """Return the attention of block ``index``, masked in the last ones."""
        return SpatialQueryAttention(
            masked=index >= depth - self.num_masked,
            embed_dims=embed_dims,
            num_heads=num_heads,
            scale=scale,
            qkv_bias=qkv_bias,
        )

    def tokens(self, images: Tensor) -> Tensor:
        """Return class token, patches and spatial token with their positions, (B, 2 + P, D)."""
        loc_token = (self.loc_token + self.loc_embed).expand(len(images), -1, -1)
        return torch.cat((super().tokens(images), loc_token), dim=1)

    def logits_and_map(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, C) and the fused map (B, 1, h, w)."""
        patch_map, kept = self.encode(images)
        masks = torch.stack([mask for _, mask in kept[-self.num_masked :]], dim=1)
        fused = masks[:, :, 1:-1].mean(dim=1).unflatten(1, self.grid)[:, None]
        return self.head(patch_map).mean(dim=(2, 3)), fused

    def losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return cross-entropy, batch area loss and normalization loss."""
        logits, fused = self.logits_and_map(images)
        area = fused.mean(dim=(1, 2, 3))
        filtered = F.conv2d(fused, self.weight, padding=1)
        return {
            'cls': F.cross_entropy(logits, labels),
            'area': (area.mean() - self.area_threshold).abs(),
            'norm': ((1 - filtered) * filtered).mean(dim=(1, 2, 3)).mean(),
        }

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and the one map of all classes."""
        return self.logits_and_map(images)
