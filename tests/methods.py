"""The methods that the tests sweep, as small models.

A new method adds one entry to :data:`METHODS`, or to :data:`ZERO_SHOT` where nothing is trained.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.clip_samples import RANDOM_CLIP

import torch
from mmpretrain.structures import DataSample


@dataclass(frozen=True)
class Size:
    """Size of a small model: ``width`` is that of the tokens, ``img_size`` that of the position embedding.

    A convolutional backbone has the grid that ``patch`` makes, and as many channels as ``width`` says, which
    is then a multiple of 8.
    """

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
        backbone: Class of its backbone: a transformer, or VGG16.
        backbone_options: Further arguments of that.
        head_options: Further arguments of the head, for two layers or more.
        reads_layers: Whether the head takes the number of layers and heads of the backbone.
        needs_clip: Whether training needs class names and a CLIP model.
        reads_stages: Whether the head takes the channels of two stages.
        localizer: Further arguments of the localizer, on that backbone.
        hybrid_options: Further arguments of the head on :data:`CONFORMER`; None if it does not use the
            convolutional branch.
        official_case: Reference case in ``tests/data/parity`` with the names of a published checkpoint; None
            if there is no checkpoint.
    """

    name: str
    head: str
    backbone: str = 'TokenVisionTransformer'
    backbone_options: Mapping[str, Any] = field(default_factory=dict)
    head_options: Mapping[str, Any] = field(default_factory=dict)
    reads_layers: bool = False
    needs_clip: bool = False
    reads_stages: bool = False
    localizer: Mapping[str, Any] = field(default_factory=dict)
    hybrid_options: Mapping[str, Any] | None = None
    official_case: str | None = None

    def backbone_config(self, size: Size = Size(), **options: Any) -> dict[str, Any]:
        """Return the config of its backbone, or of the one that ``options`` name."""
        kind = options.pop('type', self.backbone)
        own = self.backbone_options if kind == self.backbone else {}
        make = {'VGG16': vgg_config, 'TimmBackbone': timm_config}.get(kind, vit_config)
        return make(kind, size, **{**own, **options})

    def head_config(self, size: Size = Size(), training: bool = False, **options: Any) -> dict[str, Any]:
        """Return the config of its head; to be trained, also with what only training needs."""
        config = dict(type=self.head, num_classes=size.num_classes, in_channels=size.width)
        if self.reads_layers:
            config |= dict(num_layers=size.layers, num_heads=size.heads)
        if self.reads_stages:
            config |= dict(stage_channels=(size.width, size.width))
        if self.needs_clip and training:
            config['sba'] = dict(class_names=list('abcdefghij')[: size.num_classes], clip=RANDOM_CLIP)
        return {**config, **self.head_options, **options}

    def model_config(self, size: Size = Size(), training: bool = False, **options: Any) -> dict[str, Any]:
        """Return the config of a localizer; ``options`` are its further arguments."""
        backbone, head = self.backbone_config(size), self.head_config(size, training)
        return {**dict(type='ImageLocalizer', backbone=backbone, head=head), **self.localizer, **options}


@dataclass(frozen=True)
class ZeroShotMethod(Method):
    """A method that is told names and not trained, on a CLIP model with random weights."""

    def model_config(self, size: Size = Size(), training: bool = False, **options: Any) -> dict[str, Any]:
        """Return the config of a localizer; ``options`` are its further arguments."""
        vision = dict(layers=size.layers, width=size.width, head_width=size.width // size.heads)
        vision |= dict(patch_size=size.patch, image_size=size.img_size, mlp_ratio=2.0)
        own = dict(
            type='CLIPLocalizer',
            clip=dict(model={**RANDOM_CLIP['model'], 'vision_cfg': vision}, pretrained=None),
            backbone=dict(type=self.backbone, **self.backbone_options),
            head=dict(type=self.head, **self.head_options),
            class_names=[f'thing {index}' for index in range(size.num_classes)],
        )
        return own | options


def labelled(label: int, **fields: Any) -> DataSample:
    """Return a sample with all that a method may learn: its class, and a box that another model has found."""
    sample = DataSample(**fields).set_gt_label(label)
    sample.pseudo_box = torch.tensor([0.2, 0.1, 0.7, 0.8])
    sample.pseudo_box_weight = torch.ones(1)
    return sample


def vit_config(kind: str, size: Size = Size(), **options: Any) -> dict[str, Any]:
    """Return the config of a transformer backbone."""
    arch = dict(
        embed_dims=size.width,
        num_layers=size.layers,
        num_heads=size.heads,
        feedforward_channels=2 * size.width,
    )
    return dict(type=kind, arch=arch, img_size=size.img_size, patch_size=size.patch, **options)


def timm_config(kind: str, size: Size = Size(), **options: Any) -> dict[str, Any]:
    """Return the config of a vision transformer of timm."""
    return dict(
        type=kind,
        model_name='vit_tiny_patch16_224',
        img_size=size.img_size,
        patch_size=size.patch,
        embed_dim=size.width,
        depth=size.layers,
        num_heads=size.heads,
        mlp_ratio=2.0,
        **options,
    )


def vgg_config(kind: str, size: Size = Size(), **options: Any) -> dict[str, Any]:
    """Return the config of VGG16, with as many pools as make the grid of a transformer."""
    if size.width % 8:
        raise ValueError(f'width: expected a multiple of 8, got {size.width}')
    pools = round(math.log2(size.patch))
    return dict(
        type=kind, base_channels=size.width // 8, pools=['max2'] * pools + [None] * (5 - pools), **options
    )


#: A hybrid backbone of the default size, whose convolutional branch has 64 channels.
CONFORMER = dict(type='TokenConformer', arch=dict(embed_dims=24, depths=3, num_heads=2, channel_ratio=0.25))
_CONV_CHANNELS = dict(conv_channels=64)
_CAM = dict(hidden_channels=(16,))
#: Always by the importance map: without chance, runs can be compared.
_ADL = dict(
    type='AttentionDropout', after=('backbone.pool3', 'backbone.relu4_3', 'backbone.relu5_3'), drop_rate=0.0
)


def _augment(kind: str, **options: Any) -> dict[str, Any]:
    return dict(train_cfg=dict(augments=dict(type=kind, **options)))


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method('ts-cam', 'TSCAMHead', hybrid_options=_CONV_CHANNELS, official_case='ts_cam/tiny_deit'),
        Method('scm', 'SCMHead', hybrid_options=_CONV_CHANNELS, official_case='scm/deit_scm_tiny_eval'),
        Method(
            'sat',
            'SATHead',
            'SpatialTokenTransformer',
            dict(masked_layers=2),
            official_case='sat/full_tiny_ilsvrc',
        ),
        Method('lctr', 'LCTRHead', 'RelationalTransformer', official_case='lctr/tiny_train'),
        Method(
            'catr',
            'CATRHead',
            head_options=dict(ocm=dict(num_layers=2)),
            reads_layers=True,
            official_case='cdtr/tiny_catr_cub_train',
        ),
        Method(
            'cdtr',
            'CDTRHead',
            head_options=dict(ocm=dict(num_layers=2)),
            reads_layers=True,
            needs_clip=True,
            official_case='cdtr/tiny_cdtr_imnet_train',
        ),
        Method('cam', 'CAMHead', 'VGG16', head_options=_CAM),
        Method('has', 'CAMHead', 'VGG16', head_options=_CAM, localizer=_augment('HideAndSeek', grid_size=8)),
        Method('cutmix', 'CAMHead', 'VGG16', head_options=_CAM, localizer=_augment('CutMix', alpha=1.0)),
        Method('adl', 'CAMHead', 'VGG16', head_options=_CAM, localizer=dict(inserts=[_ADL])),
        Method('acol', 'ACoLHead', 'VGG16', head_options=dict(hidden_channels=(16, 16))),
        Method(
            'spg',
            'SPGHead',
            'VGG16',
            head_options=dict(hidden_channels=(16,), b_channels=16, c_channels=16),
            reads_stages=True,
            localizer=dict(stages=('pool4', 'pool5')),
        ),
        Method('bas', 'BASHead', head_options=dict(hidden_channels=32)),
        Method('trilite', 'TriLiteHead', 'TimmBackbone', head_options=dict(tokens='normed')),
        Method('tokencut', 'GraphCutHead', 'TimmBackbone', head_options=dict(threshold=0.5)),
        Method('class-attention', 'ClassAttentionHead', 'TimmBackbone'),
        Method(
            'found',
            'FOUNDHead',
            'TimmBackbone',
            head_options=dict(pseudo_masks=dict(type='BackgroundMasks', target_area=0.3)),
        ),
        Method('psol', 'PSOLHead', head_options=dict(hidden_channels=16, map_size=8)),
    )
}
#: Those without training, whose heads stand on a backbone of their own alone.
ZERO_SHOT: dict[str, Method] = {
    'gem': ZeroShotMethod('gem', 'GEMHead', 'CLIPVisionTransformer', dict(depth=2)),
}
