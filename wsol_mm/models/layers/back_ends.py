"""Last stages of convolutional networks, for heads that run them on a feature map of their own making.

Each halves the sides of the map (28x28 to 14x14 for images of 224x224). Parameters are called as in the whole
network, so that its weights fill them.
"""

from collections import OrderedDict

from wsol_mm.registry import MODELS

import torch.nn.functional as F
from mmpretrain.models.backbones import ResNet
from mmpretrain.models.backbones.resnet import ResLayer
from torch import Tensor, nn
from torchvision.models.inception import InceptionD, InceptionE

from .depthwise_separable import depthwise_separable


@MODELS.register_module()
class VGGBackEnd(nn.Module):
    """``conv5_1``, ``conv5_2`` and ``conv5_3`` of VGG16, each with ReLU, behind its fourth pool.

    Args:
        in_channels: Channels of the feature map, which are kept.
    """

    def __init__(self, in_channels: int = 512) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.conv5_1, self.conv5_2, self.conv5_3 = (
            nn.Conv2d(in_channels, in_channels, 3, padding=1) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D, h // 2, w // 2) for a map (B, D, h, w)."""
        x = F.max_pool2d(x, 2)
        for conv in (self.conv5_1, self.conv5_2, self.conv5_3):
            x = conv(x).relu()
        return x


@MODELS.register_module()
class ResNetBackEnd(nn.Module):
    """``layer4`` of a ResNet with stride 1, behind a 2x2 max-pool.

    Args:
        in_channels: Channels of the feature map; twice as many come out.
        depth: Of the network, as mmpretrain's ``ResNet`` has it.
    """

    def __init__(self, in_channels: int = 1024, depth: int = 50) -> None:
        super().__init__()
        self.out_channels = 2 * in_channels
        block, stages = ResNet.arch_settings[depth]
        self.layer4 = ResLayer(block, stages[3], in_channels, self.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2D, h // 2, w // 2) for a map (B, D, h, w)."""
        return self.layer4(F.max_pool2d(x, 2))


class PaddedInceptionD(InceptionD):
    """``Mixed_7a`` with one pixel of padding at its strides: sides are halved, upwards where odd."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.branch3x3_2.conv.padding = self.branch7x7x3_4.conv.padding = (1, 1)

    def _forward(self, x: Tensor) -> list[Tensor]:
        return [
            self.branch3x3_2(self.branch3x3_1(x)),
            self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))),
            F.max_pool2d(x, 3, stride=2, padding=1),
        ]


@MODELS.register_module()
class InceptionBackEnd(nn.Module):
    """``Mixed_7a`` (padded), ``Mixed_7b`` and ``Mixed_7c`` of Inception v3.

    Args:
        in_channels: Channels D of the feature map.
    """

    out_channels = 2048

    def __init__(self, in_channels: int = 768) -> None:
        super().__init__()
        self.Mixed_7a = PaddedInceptionD(in_channels)
        self.Mixed_7b = InceptionE(in_channels + 512)
        self.Mixed_7c = InceptionE(2048)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2048, ceil(h / 2), ceil(w / 2)) for a map (B, D, h, w)."""
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))


@MODELS.register_module()
class MobileNetBackEnd(nn.Module):
    """Blocks 12 (with stride 2) and 13 of MobileNet v1.

    Args:
        in_channels: Channels of the feature map; twice as many come out.
    """

    def __init__(self, in_channels: int = 512) -> None:
        super().__init__()
        self.out_channels = 2 * in_channels
        blocks = OrderedDict()
        blocks['12'] = depthwise_separable(in_channels, self.out_channels, stride=2)
        blocks['13'] = depthwise_separable(self.out_channels, self.out_channels)
        self.model = nn.Sequential(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 2D, ceil(h / 2), ceil(w / 2)) for a map (B, D, h, w)."""
        return self.model(x)
