"""VGG16 for localization: the pools decide on the size of the last map."""

from collections.abc import Sequence

from wsol_mm.models.utils import network_init
from wsol_mm.registry import MODELS

from torch import nn

from .layer_sequence import LayerSequence

#: Convolutions of every group, and their channels as multiples of those of the first.
_CONVS, _WIDTHS = (2, 2, 3, 3, 3), (1, 2, 4, 8, 8)
#: What may stand behind a group. All pads are zeros, which count in an average.
_POOLS = {
    'max2': lambda: nn.MaxPool2d(2),
    'max3': lambda: nn.MaxPool2d(3, stride=2, padding=1),
    'max3_same': lambda: nn.MaxPool2d(3, stride=1, padding=1),
    'avg3_same': lambda: nn.AvgPool2d(3, stride=1, padding=1),
}


@MODELS.register_module()
class VGG16(LayerSequence):
    """The 13 convolutions of VGG16 (Simonyan and Zisserman, ICLR 2015), with pools of choice.

    Layers are called ``conv1_1``, ``relu1_1``, ..., ``relu5_3``, and ``pool1`` to ``pool5``, which are there
    also where nothing is pooled.

    Args:
        pools: What stands behind each group of convolutions: ``'max2'`` and ``'max3'`` halve the map by the
            largest of 2x2 and of 3x3 values, ``'max3_same'`` and ``'avg3_same'`` keep its size; several of
            them, or None. The network ends behind the last of them. The default is that of CAM with maps of
            14x14 for images of 224x224; without the fourth pool they have 28x28.
        base_channels: Channels of the first group.
        conv_init: Initialisation, see :func:`~wsol_mm.models.utils.network_init`.
        init_cfg: Initialisation config, instead of ``conv_init``.

    Raises:
        ValueError: If there is no pool, more than five, or an unknown one, or ``conv_init`` is unknown.
    """

    def __init__(
        self,
        pools: Sequence[str | Sequence[str] | None] = ('max2', 'max2', 'max2', 'max2', None),
        base_channels: int = 64,
        conv_init: str = 'kaiming',
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(network_init(conv_init) if init_cfg is None else init_cfg)
        if isinstance(pools, str) or not 1 <= len(pools) <= len(_CONVS):
            raise ValueError(f'pools: expected 1 to {len(_CONVS)} of them, got {pools!r}')
        channels = 3
        for group, (kinds, convs, width) in enumerate(zip(pools, _CONVS, _WIDTHS, strict=False), 1):
            for index in range(1, convs + 1):
                conv = nn.Conv2d(channels, base_channels * width, kernel_size=3, padding=1)
                self.add_module(f'conv{group}_{index}', conv)
                self.add_module(f'relu{group}_{index}', nn.ReLU(inplace=True))
                channels = base_channels * width
            kinds = [kinds] if isinstance(kinds, str) else kinds or []
            unknown = [kind for kind in kinds if kind not in _POOLS]
            if unknown:
                raise ValueError(f'pools: expected None or some of {list(_POOLS)}, got {unknown[0]!r}')
            self.add_module(f'pool{group}', nn.Sequential(*(_POOLS[kind]() for kind in kinds)))
