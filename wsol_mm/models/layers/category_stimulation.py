"""CSM, the category-aware stimulation module of CATR (Chen et al., ICCV 2023)."""

from wsol_mm.models.utils.precision import at_least_float32, autocast_off

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return two 3x3 convolutions, each with batch normalisation (momentum 0.01) and LeakyReLU (0.01)."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels, momentum=0.01),
            nn.LeakyReLU(0.01),
        ]
    return nn.Sequential(*layers)


class CategoryStimulation(nn.Module):
    """Small U-Net that turns the class token's attention into one map per class.

    Calling it gives the decoder's maps, before the 1x1 classifier, which has no bias. The classifier is
    linear, so what a model needs of its maps is had without it at every position: :meth:`pooled` gives
    the logits, :meth:`classify` other means over the positions, :meth:`class_maps` the maps of a few classes,
    :meth:`maps` all of them.

    Args:
        attention_maps: Number of input maps, layers times heads of the backbone.
        num_classes: Number of classes C.
        base_channels: Half the width of the encoder: 8 on CUB, 256 on ILSVRC (CDTR, table 2.0).

    Raises:
        ValueError: If ``base_channels`` is not positive.
    """

    def __init__(self, attention_maps: int, num_classes: int, base_channels: int = 8) -> None:
        super().__init__()
        if base_channels < 1:
            raise ValueError(f'csm.base_channels: expected an integer from 1, got {base_channels}')
        width = 2 * base_channels
        self.encoder = double_conv(attention_maps, width)
        self.decoder = double_conv(attention_maps + width, num_classes)
        self.classifier = nn.Conv2d(num_classes, num_classes, kernel_size=1, bias=False)

    def forward(self, attention: Tensor) -> Tensor:
        """Return the decoder's maps, (B, C, h, w).

        Args:
            attention: Class token's attention of every head, (B, L*H, h, w), channel layer * H + head; h and
                w at least 2.
        """
        attention = attention.to(self.encoder[0].weight.dtype)
        encoded = self.encoder(F.max_pool2d(attention, 2))
        enlarged = F.interpolate(encoded, attention.shape[-2:], mode='bilinear', align_corners=False)
        return self.decoder(torch.cat((attention.to(enlarged.dtype), enlarged), dim=1))

    def maps(self, decoded: Tensor) -> Tensor:
        """Return the maps of all classes, (B, C, h, w), from the decoder's maps."""
        return self.classifier(decoded)

    def pooled(self, decoded: Tensor) -> Tensor:
        """Return the spatial mean of every class map, (B, C), from the decoder's maps (B, C, h, w)."""
        return F.linear(decoded.mean(dim=(2, 3)), self.classifier.weight.flatten(1))

    def classify(self, means: Tensor) -> Tensor:
        """Return what the classifier makes of weighted means of the decoder's maps.

        Args:
            means: (B, C, K), K means of every map over the positions.

        Returns:
            The same means of the class maps, (B, C, K), in the precision of ``means``.
        """
        with autocast_off(means):
            return self.classifier.weight.flatten(1).to(means.dtype) @ means

    def class_maps(self, decoded: Tensor, labels: Tensor) -> Tensor:
        """Return the maps of the wanted classes, in float32 or better (also under autocast).

        Args:
            decoded: The decoder's maps, (B, C, h, w).
            labels: Wanted class indices per image, (B, K), int64.

        Returns:
            (B, K, h, w).
        """
        with autocast_off(decoded):
            decoded = at_least_float32(decoded)
            weight = self.classifier.weight.flatten(1)[labels].to(decoded.dtype)
            return (weight @ decoded.flatten(2)).unflatten(2, decoded.shape[-2:])
