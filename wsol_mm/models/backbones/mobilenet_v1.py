"""MobileNet v1, up to any of its blocks."""

from collections.abc import Collection, Sequence

from wsol_mm.models.layers import depthwise_separable
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features
from wsol_mm.structures.features import check_needs

from mmengine.model import BaseModule
from torch import Tensor, nn

#: Channels of the blocks.
_CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)


@MODELS.register_module()
class MobileNetV1(BaseModule):
    """MobileNet v1 (Howard et al., 2017, arXiv 1704.04861) without its classifier.

    Block 0 is a 3x3 convolution with batch norm and ReLU, blocks 1 to 13 are depthwise separable
    convolutions. They are called ``model.<block>.<i>``, as in the published PyTorch weights.

    Args:
        strides: One per block: the network ends behind the last of them. The default is the whole network
            at a sixteenth of the image's size; for classification, block 6 has stride 2, too.
        width: Factor on all numbers of channels.
        init_cfg: Initialisation config.

    Raises:
        ValueError: If there are no strides, or more than 14.
    """

    #: What :meth:`forward` can return beyond the feature map.
    gives: frozenset[str] = frozenset()

    def __init__(
        self,
        strides: Sequence[int] = (2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1),
        width: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not 1 <= len(strides) <= len(_CHANNELS):
            raise ValueError(f'strides: expected 1 to {len(_CHANNELS)} numbers, got {len(strides)}')
        channels = [round(width * number) for number in _CHANNELS[: len(strides)]]
        stem = nn.Sequential(
            nn.Conv2d(3, channels[0], 3, strides[0], padding=1, bias=False),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(inplace=True),
        )
        blocks = map(depthwise_separable, channels, channels[1:], strides[1:])
        self.model = nn.Sequential(stem, *blocks)

    def forward(self, x: Tensor, needs: Collection[str] = ()) -> Features:
        """Return the last feature map of images (B, 3, H, W).

        Raises:
            ValueError: If more than that is asked for.
        """
        check_needs(needs, self.gives, type(self).__name__)
        return Features(self.model(x))
