"""LCTR with explicit attention and a kernel mixed for every sample (Chen et al., AAAI 2022)."""

from typing import Any

from wsol_mm.models.localizers import ImageLocalizer

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .vit import ExplicitViT


def propagate(attention: Tensor) -> Tensor:
    """Return RPAM's map (B, P) of one layer's attention (B, H, N, N), through the whole product."""
    mean = attention.mean(dim=1)
    return (mean[:, 0, :, None] * mean).mean(dim=1)[:, 1:]


class Routing(nn.Module):
    """Weights of the kernels from the pooled features.

    Args:
        in_channels: Width D of the features.
        num_kernels: Number of kernels E.
    """

    def __init__(self, in_channels: int, num_kernels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_channels, num_kernels)
        self.fc2 = nn.Linear(in_channels, num_kernels)

    def forward(self, x: Tensor) -> Tensor:
        """Return one weight per kernel, (E,), of features (1, D, h, w)."""
        average = F.adaptive_avg_pool2d(x, 1).flatten()
        maximum = F.adaptive_max_pool2d(x, 1).flatten()
        return (self.fc(average) + self.fc2(maximum)).sigmoid()


class CueDigging(nn.Module):
    """CDM: one convolution per sample, with its own mixture of the kernels.

    Args:
        in_channels: Width D of the features.
        num_classes: Number of classes C.
        num_kernels: Number of kernels E.
    """

    def __init__(self, in_channels: int, num_classes: int, num_kernels: int) -> None:
        super().__init__()
        bound = (num_classes * in_channels * 9) ** -0.5
        shape = (num_kernels, num_classes, in_channels, 3, 3)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_classes).uniform_(-bound, bound))
        self._routing_fn_two = Routing(in_channels, num_kernels)

    def forward(self, patch_map: Tensor, damped: Tensor) -> Tensor:
        """Return class maps (B, C, h, w) of features and damped features, both (B, D, h, w)."""
        class_maps = []
        for features, routed in zip(patch_map, damped, strict=True):
            gates = self._routing_fn_two(routed[None])
            kernel = (gates[:, None, None, None, None] * self.weight).sum(dim=0)
            class_maps.append(F.conv2d(features[None], kernel, self.bias, padding=1))
        return torch.cat(class_maps)


class ExplicitLCTR(ExplicitViT, head='LCTRHead', targets={'train': 1.15, 'inference': 1.25}):
    """Damped features choose the kernels of the class maps; RPAM's maps are their test-time factor.

    Args:
        num_kernels: Number of kernels E of the CDM.
        **kwargs: Of :class:`ExplicitViT`.
    """

    def __init__(self, num_kernels: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        embed_dims = self.norm.normalized_shape[0]
        self.conv3x3 = nn.Conv2d(embed_dims, embed_dims, kernel_size=3, padding=1)
        self.CDM = CueDigging(embed_dims, self.num_classes, num_kernels)

    @classmethod
    def settings(cls, localizer: ImageLocalizer) -> dict[str, Any]:
        """Return the number of kernels."""
        return {'num_kernels': len(localizer.head.cdm.weight)}

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (B, C), class maps (B, C, h, w) and RPAM's maps of all layers (B, L, h, w)."""
        patch_map, attentions = self.encode(images)
        propagated = torch.stack([propagate(attention) for attention in attentions], dim=1)
        attention = torch.stack(attentions, dim=1).mean(dim=(1, 2))  # (B, N, N)
        reverse = 1 - attention[:, 0, 1:].unflatten(1, self.grid)[:, None]
        class_maps = self.CDM(patch_map, self.conv3x3(patch_map * reverse))
        pooled = F.avg_pool2d(class_maps, kernel_size=3, stride=1, padding=1, count_include_pad=True)
        return pooled.mean(dim=(2, 3)), class_maps, propagated.unflatten(2, self.grid)

    def losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the cross-entropy of the pooled class maps."""
        return {'loss': F.cross_entropy(self(images)[0], labels)}

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and the fused maps of all classes."""
        logits, class_maps, propagated = self(images)
        return logits, propagated.mean(dim=1)[:, None] * class_maps.relu()
