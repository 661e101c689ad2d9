"""The block of MobileNet."""

from torch import nn


def depthwise_separable(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution of each channel and a 1x1 convolution, each with batch norm and ReLU.

    Args:
        in_channels: Channels that go in.
        out_channels: Channels that come out.
        stride: Of the 3x3 convolution.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False),
        nn.BatchNorm2d(in_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
