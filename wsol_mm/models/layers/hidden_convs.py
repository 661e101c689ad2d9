"""Convolutions between a backbone and the classifier of class maps."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def conv_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return a 3x3 convolution that keeps the size, with ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1), nn.ReLU(inplace=True)
    )


def hidden_convs(in_channels: int, hidden_channels: Sequence[int]) -> nn.Sequential:
    """Return one :func:`conv_relu` after another; what they are called is ``0``, ``1``, ...

    Args:
        in_channels: Channels of the feature map.
        hidden_channels: Channels of each of them; none if empty.
    """
    return nn.Sequential(*(conv_relu(*pair) for pair in pairwise((in_channels, *hidden_channels))))
