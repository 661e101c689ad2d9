"""SCM with explicit attention and dense graph matrices (Bai et al., ECCV 2022)."""

from collections.abc import Sequence
from typing import Any

from wsol_mm.models.localizers import ImageLocalizer

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .vit import ExplicitViT


def grid_laplacian(height: int, width: int) -> Tensor:
    """Return degree minus adjacency of the 4-neighbour grid, (N, N), row by row."""
    adjacency = torch.zeros(height * width, height * width)
    for row in range(height):
        for column in range(width):
            for other_row, other_column in ((row + 1, column), (row, column + 1)):
                if other_row < height and other_column < width:
                    p, q = row * width + column, other_row * width + other_column
                    adjacency[p, q] = adjacency[q, p] = 1
    return adjacency.sum(dim=1).diag() - adjacency


def min_max(maps: Tensor) -> Tensor:
    """Scale every row of (B, N) to [0, 1]; no epsilon."""
    maps = maps - maps.min(dim=1, keepdim=True).values
    return maps / maps.max(dim=1, keepdim=True).values


class DiffusionLayer(nn.Module):
    """Activation diffusion by truncated Newton-Schulz on dense matrices.

    Args:
        iterations: Newton-Schulz steps.
        alpha: Scale of the start matrix.
    """

    def __init__(self, iterations: int, alpha: float = 0.002) -> None:
        super().__init__()
        self.iterations = iterations
        self.alpha = alpha
        self.thred = nn.Parameter(torch.full((1,), 0.5))
        self.fuse = nn.ParameterDict({'_loss_rate': nn.Parameter(torch.ones(1))})

    def forward(self, semantic: Tensor, attention: Tensor, laplacian: Tensor) -> tuple[Tensor, Tensor]:
        """Calibrate semantic maps (B, C, h, w) and attention (B, N) with the Laplacian (N, N)."""
        scores = semantic.flatten(2).transpose(1, 2)
        norms = scores.norm(dim=2)
        similarity = scores @ scores.transpose(1, 2) / (norms[:, :, None] * norms[:, None])
        matrix = laplacian * (self.fuse['_loss_rate'] * similarity - 1)
        # The start is a constant in the backward pass.
        inverse = self.alpha * matrix.detach().transpose(1, 2)
        twice = 2 * torch.eye(len(laplacian), dtype=matrix.dtype, device=matrix.device)
        for _ in range(self.iterations):
            inverse = inverse @ (twice - matrix @ inverse)
        diffused = (inverse.transpose(1, 2) @ attention[..., None]).squeeze(2)
        z = diffused / (self.thred * attention.max(dim=1, keepdim=True).values)
        update = min_max(z - z.tanh())
        gate = update.unflatten(1, semantic.shape[-2:])[:, None]
        return semantic + semantic * gate, attention + update


class ExplicitSCM(ExplicitViT, head='SCMHead', targets={'train': 1.5, 'inference': 1.1}):
    """TS-CAM's maps, calibrated by diffusion layers in training.

    Args:
        iterations: Newton-Schulz steps of every layer.
        **kwargs: Of :class:`ExplicitViT`.
    """

    def __init__(self, iterations: Sequence[int] = (16, 4, 4, 4), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.head = nn.Conv2d(self.norm.normalized_shape[0], self.num_classes, kernel_size=3, padding=1)
        self.layers = nn.ModuleList(DiffusionLayer(steps) for steps in iterations)
        self.register_buffer('laplacian', grid_laplacian(*self.grid), persistent=False)

    @classmethod
    def settings(cls, localizer: ImageLocalizer) -> dict[str, Any]:
        """Return the steps of the diffusion layers."""
        return {'iterations': [layer.iterations for layer in localizer.head.calibration.layers]}

    def raw_maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the semantic maps (B, C, h, w) and the normalised attention (B, N)."""
        patch_map, attentions = self.encode(images)
        attention = torch.stack(attentions, dim=1).mean(dim=2)  # (B, L, N, N)
        return self.head(patch_map), min_max(attention[:, :, 0, 1:].sum(dim=1))

    def losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the cross-entropy of the mean calibrated maps."""
        semantic, attention = self.raw_maps(images)
        for layer in self.layers:
            semantic, attention = layer(semantic, attention, self.laplacian)
        return {'loss': F.cross_entropy(semantic.mean(dim=(2, 3)), labels)}

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and maps of all classes; without the diffusion layers."""
        semantic, attention = self.raw_maps(images)
        return semantic.mean(dim=(2, 3)), attention.unflatten(1, self.grid)[:, None] * semantic
