"""TS-CAM with explicit attention (Gao et al., ICCV 2021)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .vit import ExplicitViT


class ExplicitTSCAM(ExplicitViT, head='TSCAMHead', targets={'train': 1.15, 'inference': 1.1}):
    """All semantic maps and the attention of all layers, multiplied for every class.

    Args:
        **kwargs: Of :class:`ExplicitViT`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.head = nn.Conv2d(self.norm.normalized_shape[0], self.num_classes, kernel_size=3, padding=1)

    def losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the cross-entropy of the mean semantic maps."""
        patch_map, _ = self.encode(images)
        return {'loss': F.cross_entropy(self.head(patch_map).mean(dim=(2, 3)), labels)}

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and coupled maps of all classes."""
        patch_map, attentions = self.encode(images)
        semantic_maps = self.head(patch_map)
        attention = torch.stack(attentions, dim=1).mean(dim=2)  # (B, L, N, N)
        class_attention = attention[:, :, 0, 1:].sum(dim=1).unflatten(1, self.grid)
        return semantic_maps.mean(dim=(2, 3)), class_attention[:, None] * semantic_maps
