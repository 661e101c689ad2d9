"""The methods that the tests sweep, as small models. A new method adds one entry to :data:`METHODS`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.clip_samples import RANDOM_CLIP


@dataclass(frozen=True)
class Size:
    """Size of a small model; ``width`` is that of the tokens, ``img_size`` that of the position embedding."""

    layers: int = 3
    heads: int = 2
    width: int = 24
    patch: int = 8
    img_size: int | tuple[int, int] = 32
    num_classes: int = 7


@dataclass(frozen=True)
class Method:
    """A method, and what a small model of it needs.

    Attributes:
        name: As its configs and the converter of published checkpoints call it.
        head: Class of its head.
        backbone: Class of its backbone on transformers.
        backbone_options: Further arguments of that.
        head_options: Further arguments of the head, for two layers or more.
        reads_layers: Whether the head takes the number of layers and heads of the backbone.
        needs_clip: Whether training needs class names and a CLIP model.
        hybrid_options: Further arguments of the head on :data:`CONFORMER`; None if it does not use the
            convolutional branch.
    """

    name: str
    head: str
    backbone: str = 'TokenVisionTransformer'
    backbone_options: Mapping[str, Any] = field(default_factory=dict)
    head_options: Mapping[str, Any] = field(default_factory=dict)
    reads_layers: bool = False
    needs_clip: bool = False
    hybrid_options: Mapping[str, Any] | None = None

    def backbone_config(self, size: Size = Size(), **options: Any) -> dict[str, Any]:
        """Return the config of its backbone, or of the one that ``options`` name."""
        kind = options.pop('type', self.backbone)
        own = self.backbone_options if kind == self.backbone else {}
        return vit_config(kind, size, **{**own, **options})

    def head_config(self, size: Size = Size(), training: bool = False, **options: Any) -> dict[str, Any]:
        """Return the config of its head; to be trained, also with what only training needs."""
        config = dict(type=self.head, num_classes=size.num_classes, in_channels=size.width)
        if self.reads_layers:
            config |= dict(num_layers=size.layers, num_heads=size.heads)
        if self.needs_clip and training:
            config['sba'] = dict(class_names=list('abcdefghij')[: size.num_classes], clip=RANDOM_CLIP)
        return {**config, **self.head_options, **options}

    def model_config(self, size: Size = Size(), training: bool = False, **options: Any) -> dict[str, Any]:
        """Return the config of a localizer; ``options`` are its further arguments."""
        backbone, head = self.backbone_config(size), self.head_config(size, training)
        return {**dict(type='ImageLocalizer', backbone=backbone, head=head), **options}


def vit_config(kind: str, size: Size = Size(), **options: Any) -> dict[str, Any]:
    """Return the config of a transformer backbone."""
    arch = dict(
        embed_dims=size.width,
        num_layers=size.layers,
        num_heads=size.heads,
        feedforward_channels=2 * size.width,
    )
    return dict(type=kind, arch=arch, img_size=size.img_size, patch_size=size.patch, **options)


#: A hybrid backbone of the default size, whose convolutional branch has 64 channels.
CONFORMER = dict(type='TokenConformer', arch=dict(embed_dims=24, depths=3, num_heads=2, channel_ratio=0.25))
_CONV_CHANNELS = dict(conv_channels=64)

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method('ts-cam', 'TSCAMHead', hybrid_options=_CONV_CHANNELS),
        Method('scm', 'SCMHead', hybrid_options=_CONV_CHANNELS),
        Method('sat', 'SATHead', 'SpatialTokenTransformer', dict(masked_layers=2)),
        Method('lctr', 'LCTRHead', 'RelationalTransformer'),
        Method('catr', 'CATRHead', head_options=dict(ocm=dict(num_layers=2)), reads_layers=True),
        Method(
            'cdtr', 'CDTRHead', head_options=dict(ocm=dict(num_layers=2)), reads_layers=True, needs_clip=True
        ),
        Method('bas', 'BASHead', head_options=dict(hidden_channels=32)),
    )
}
