"""CATR with explicit attention and all maps of all classes (Chen et al., ICCV 2023)."""

from typing import Any

from wsol_mm.models.localizers import ImageLocalizer

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .vit import ExplicitViT, NoExplicitForm


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each with batch normalisation and LeakyReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of both outputs.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers.append(nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=False))
            layers.append(nn.BatchNorm2d(out_channels, momentum=0.01))
            layers.append(nn.LeakyReLU(0.01))
        self.UConv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Run both convolutions on maps (B, C, h, w)."""
        return self.UConv(x)


class CategoryMaps(nn.Module):
    """CSM: U-Net of one level.

    Args:
        in_channels: Number of attention maps.
        num_classes: Number of classes C.
        width: Channels of the encoder.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.MaxPool2d(2), DoubleConv(in_channels, width))
        self.up = nn.ModuleDict({'conv': DoubleConv(in_channels + width, num_classes)})

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, h, w) from attention maps (B, L*H, h, w)."""
        enlarged = F.interpolate(self.down(x), size=x.shape[-2:], mode='bilinear', align_corners=False)
        return self.up['conv'](torch.cat((x, enlarged), dim=1))


class LearnedWeights(nn.Module):
    """Weighted sum of losses, with a learned number for each.

    Args:
        num_losses: Number of losses.
    """

    def __init__(self, num_losses: int) -> None:
        super().__init__()
        self.params = nn.Parameter(torch.ones(num_losses))

    def forward(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted losses, in the order of the numbers."""
        return {
            name: 0.5 / p**2 * loss + torch.log(1 + p**2)
            for p, (name, loss) in zip(self.params, losses.items(), strict=True)
        }


class ExplicitCATR(ExplicitViT, head='CATRHead', targets={'train': 1.15}):
    """Class maps, maps of the CSM, a branch per layer in the OCM, and the map loss over all pairs.

    Args:
        csm_width: Channels of the CSM's encoder.
        ocm_layers: Layers that the OCM looks at.
        area_ratio: Of the area loss.
        num_losses: Number of losses with learned weights.
        **kwargs: Of :class:`ExplicitViT`.
    """

    def __init__(
        self,
        csm_width: int = 16,
        ocm_layers: int = 9,
        area_ratio: float = 0.25,
        num_losses: int = 4,
        depth: int = 12,
        num_heads: int = 6,
        **kwargs: Any,
    ) -> None:
        super().__init__(depth=depth, num_heads=num_heads, **kwargs)
        classes = self.num_classes
        self.ocm_layers = ocm_layers
        self.area_ratio = area_ratio
        self.head = nn.Conv2d(self.norm.normalized_shape[0], classes, kernel_size=3, padding=1)
        self.att_layer = CategoryMaps(depth * num_heads, classes, csm_width)
        self.att_cls = nn.Conv2d(classes, classes, kernel_size=1, bias=False)
        for i in range(ocm_layers):
            branch = (nn.Conv2d(num_heads, 1, 1, bias=False), nn.BatchNorm2d(1), nn.LeakyReLU(0.01))
            self.add_module(f'block{i}', nn.Sequential(*branch))
        self.block_catconv = nn.Conv2d(ocm_layers, 1, kernel_size=3, padding=1, bias=False)
        self.block_catbn = nn.BatchNorm2d(1)
        self.AutomaticWeightedLoss = LearnedWeights(num_losses)

    @classmethod
    def settings(cls, localizer: ImageLocalizer) -> dict[str, Any]:
        """Return the sizes of the CSM and the OCM and the ratio of the area loss."""
        head = localizer.head
        parts = ('csm', 'ocm', 'area_loss', 'loss_weighting')
        missing = [name for name in parts if getattr(head, name) is None]
        if missing:
            raise NoExplicitForm(f'expected a head with all parts, got one without {", ".join(missing)}')
        other = (head.map_loss.pairing, head.map_loss.detach_target, head.area_loss.reference_batch)
        if other != ('batch', False, None):
            raise NoExplicitForm('expected the losses of the OCM to be those of the reference, got others')
        return {
            'csm_width': head.csm.encoder[0].out_channels,
            'ocm_layers': head.ocm.branch_conv.out_channels,
            'area_ratio': head.area_loss.ratio,
        }

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return everything by name.

        Returns:
            ``rows`` (B, L, H, h, w), ``attention`` (B, h, w), ``head_maps`` and ``csm_maps`` (B, C, h, w).
        """
        patch_map, attentions = self.encode(images)
        attention = torch.stack(attentions, dim=1)  # (B, L, H, N, N)
        rows = attention[:, :, :, 0, 1:].unflatten(-1, self.grid)
        return {
            'rows': rows,
            'attention': attention.mean(dim=1).sum(dim=1)[:, 0, 1:].unflatten(-1, self.grid),
            'head_maps': self.head(patch_map),
            'csm_maps': self.att_cls(self.att_layer(rows.flatten(1, 2))),
        }

    def foreground(self, rows: Tensor) -> Tensor:
        """Return the OCM's map (B, 1, h, w) of rows (B, L, H, h, w)."""
        branches = [getattr(self, f'block{i}')(rows[:, i]) for i in range(self.ocm_layers)]
        return self.block_catbn(self.block_catconv(torch.cat(branches, dim=1))).sigmoid()

    def plain_losses(self, images: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the losses before weighting, in the order of their weights, and all maps."""
        maps = self(images)
        attention = maps['attention']
        ordered = attention.flatten(1).sort(dim=1).values
        limit = ordered[:, int(self.num_patches * self.area_ratio), None, None]
        lowest = torch.where(attention <= limit, attention, 0)
        pairs = self.foreground(maps['rows']) - attention  # (B, 1, h, w) and (B, h, w): (B, B, h, w)
        return {
            'cls': F.cross_entropy(maps['head_maps'].mean(dim=(2, 3)), labels),
            'csm': F.cross_entropy(maps['csm_maps'].mean(dim=(2, 3)), labels),
            'area': lowest.sum() / self.num_patches,
            'map': pairs.square().mean(),
        }, maps

    def losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the weighted losses."""
        return self.AutomaticWeightedLoss(self.plain_losses(images, labels)[0])

    def predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and the fused maps of all classes."""
        maps = self(images)
        fused = maps['attention'][:, None] * (maps['head_maps'] + maps['csm_maps'])
        return maps['head_maps'].mean(dim=(2, 3)), fused
