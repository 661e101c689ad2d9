"""Inception v3 for localization: padded at its strides, without its last stage."""

from wsol_mm.models.utils import network_init
from wsol_mm.registry import MODELS

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.inception import BasicConv2d, InceptionA, InceptionB, InceptionC

from .layer_sequence import LayerSequence

#: Ratios of the sides of image and feature map.
OUTPUT_STRIDES = (8, 16)


class _SameSizeInceptionB(InceptionB):
    """``Mixed_6a`` with stride 1 and one pixel of padding: the map keeps its size."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        for conv in (self.branch3x3.conv, self.branch3x3dbl_3.conv):
            conv.stride = conv.padding = (1, 1)

    def _forward(self, x: Tensor) -> list[Tensor]:
        return [
            self.branch3x3(x),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            F.max_pool2d(x, kernel_size=3, stride=1, padding=1),
        ]


@MODELS.register_module()
class InceptionV3(LayerSequence):
    """Inception v3 (Szegedy et al., CVPR 2016) up to ``Mixed_6e``, as localization uses it.

    Names are torchvision's. Images of 224x224 give maps of 14x14 or 28x28: the first convolution and the
    pools are padded, and ``Mixed_6a`` keeps the size, so that ``maxpool3`` decides on it
    (docs/specifications/cnn_baselines.md, section 2.3). Images are normalised as for the other networks.

    Args:
        output_stride: 16, or 8 for maps of twice the size: ``maxpool3`` then does nothing.
        conv_init: Initialisation, see :func:`~wsol_mm.models.utils.network_init`.
        init_cfg: Initialisation config, instead of ``conv_init``.

    Raises:
        ValueError: If ``output_stride`` is neither, or ``conv_init`` is unknown.
    """

    def __init__(
        self, output_stride: int = 16, conv_init: str = 'xavier', init_cfg: dict | list | None = None
    ) -> None:
        super().__init__(network_init(conv_init) if init_cfg is None else init_cfg)
        if output_stride not in OUTPUT_STRIDES:
            raise ValueError(f'output_stride: expected one of {OUTPUT_STRIDES}, got {output_stride}')
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, kernel_size=3, stride=2, padding=1)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, kernel_size=3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, kernel_size=3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.Mixed_5b = InceptionA(192, pool_features=32)
        self.Mixed_5c = InceptionA(256, pool_features=64)
        self.Mixed_5d = InceptionA(288, pool_features=64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True) if output_stride == 16 else nn.Identity()
        self.Mixed_6a = _SameSizeInceptionB(288)
        self.Mixed_6b = InceptionC(768, channels_7x7=128)
        self.Mixed_6c = InceptionC(768, channels_7x7=160)
        self.Mixed_6d = InceptionC(768, channels_7x7=160)
        self.Mixed_6e = InceptionC(768, channels_7x7=192)
