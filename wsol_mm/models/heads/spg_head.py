"""Head of SPG: self-produced guidance (Zhang et al., ECCV 2018)."""

from collections.abc import Sequence
from typing import Any

from wsol_mm.models.layers import conv_relu
from wsol_mm.models.weights.layouts import RESNET_RULE, VGG16_FEATURES, Layout, vgg16_rules
from wsol_mm.models.weights.official import OfficialCheckpoints
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from .cam_head import INCEPTION_CAM, CAMHead

_BRANCHES = (
    (r'SPG_B_([12])a\.0\.(weight|bias)', r'head.b\1.0.\2'),
    (r'SPG_B_shared\.([02])\.(weight|bias)', r'head.b_shared.\1.\2'),
    (r'SPG_C\.([02])\.(weight|bias)', r'head.c.\1.\2'),
    (r'SPG_A_?4\.(weight|bias)', r'head.semantic_conv.\1'),
)
_MARKERS = (r'SPG_B_shared\.0\.weight', r'SPG_C\.0\.weight')
SPG_LAYOUTS = (
    Layout(
        name='WSOL benchmark, VGG16-SPG (SPG_A_1.0.weight, ..., SPG_C.0.weight)',
        markers=(r'SPG_A_1\.0\.weight', *_MARKERS),
        rules=(
            *vgg16_rules(VGG16_FEATURES[:7]),
            *vgg16_rules((0, 2, 4), r'SPG_A_1\.{}', first=7),
            *vgg16_rules((0, 2, 4), r'SPG_A_2\.{}', first=10),
            (r'SPG_A_3\.0\.(weight|bias)', r'head.convs.0.0.\1'),
            (r'SPG_A_3\.2\.(weight|bias)', r'head.convs.1.0.\1'),
            *_BRANCHES,
        ),
    ),
    Layout(
        name='WSOL benchmark, ResNet-50-SPG (SPG_A1.0.conv1.weight, ..., SPG_C.0.weight)',
        markers=(r'SPG_A1\.0\.conv1\.weight', *_MARKERS),
        rules=(
            RESNET_RULE,
            (r'SPG_A1\.0\.(.+)', r'backbone.layer3.0.\1'),
            *((rf'SPG_A2\.{block}\.(.+)', rf'backbone.layer3.{block + 1}.\1') for block in range(5)),
            *_BRANCHES,
        ),
    ),
    Layout(
        name='WSOL benchmark, Inception-v3-SPG (SPG_A3_1b.0.weight, ..., SPG_C.0.weight)',
        markers=(*INCEPTION_CAM.markers, *_MARKERS),
        rules=(*INCEPTION_CAM.rules[:-1], *_BRANCHES),
    ),
)


def _logits(in_channels: int, hidden_channels: int) -> nn.Sequential:
    """Return a 3x3 convolution with ReLU, and a 1x1 convolution to one channel."""
    return nn.Sequential(*conv_relu(in_channels, hidden_channels), nn.Conv2d(hidden_channels, 1, 1))


@MODELS.register_module()
class SPGHead(CAMHead):
    """Class maps by a convolutional classifier, trained together with branches that the maps guide.

    Branches B1 and B2 look at two earlier feature maps (``stages`` of
    :class:`~wsol_mm.models.localizers.ImageLocalizer`) and share their last convolutions; branch C looks at
    the features that are classified. The attention of the labelled class teaches B2, B2 teaches B1, and their
    mean teaches C: see :class:`~wsol_mm.models.losses.SelfProducedGuidanceLoss`. At test time there are
    logits and class maps alone.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels of the feature map.
        stage_channels: Channels of the two stages.
        hidden_channels: See :class:`CAMHead`. The reference has (512, 512) on VGG16, none on ResNet-50 and
            (1024, 1024) on Inception v3.
        b_channels: Channels of branches B1 and B2; 1024 on ResNet-50.
        c_channels: Channels of branch C.
        guidance: Options of :class:`~wsol_mm.models.losses.SelfProducedGuidanceLoss`.
        guidance_size: Side of its masks; that of the images if None, as in the reference, whose images have
            224.
        conv_init: See :class:`CAMHead`.
        **kwargs: Further arguments of :class:`CAMHead`.

    Raises:
        ValueError: If there are not two stages, or an argument of :class:`CAMHead` is wrong.
    """

    official = OfficialCheckpoints('spg', layouts=SPG_LAYOUTS, dimensions={'head.b_shared.2.weight': 4})

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stage_channels: Sequence[int],
        hidden_channels: Sequence[int] = (512, 512),
        b_channels: int = 512,
        c_channels: int = 512,
        guidance: dict | None = None,
        guidance_size: int | None = None,
        conv_init: str = 'xavier',
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_classes, in_channels, hidden_channels, classifier='conv', conv_init=conv_init, **kwargs
        )
        if len(stage_channels) != 2:
            raise ValueError(f'stage_channels: expected two numbers, got {stage_channels}')
        self.b1, self.b2 = (conv_relu(channels, b_channels) for channels in stage_channels)
        self.b_shared = _logits(b_channels, b_channels)
        self.c = _logits((in_channels, *hidden_channels)[-1], c_channels)
        self.guidance = MODELS.build({'type': 'SelfProducedGuidanceLoss', **(guidance or {})})
        self.guidance_size = guidance_size

    @property
    def loss_needs(self) -> frozenset[str]:
        """The stages, and the images, whose size the masks have."""
        return frozenset({'stages'} if self.guidance_size else {'stages', 'images'})

    def branches(self, feats: Features) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits of B1, B2 and C, each (B, 1, h_i, w_i).

        Raises:
            ValueError: If the features have not two stages.
        """
        if len(feats.stages) != 2:
            raise ValueError(f'stages: expected two, got {len(feats.stages)}')
        first, second = (
            self.b_shared(branch(stage))
            for branch, stage in zip((self.b1, self.b2), feats.stages, strict=True)
        )
        return first, second, self.c(self.hidden(feats))

    def loss(self, feats: Features, data_samples: Sequence[DataSample], **kwargs: Any) -> dict[str, Tensor]:
        """Return the losses of a batch.

        Args:
            feats: With what ``loss_needs`` names.
            data_samples: With ``gt_label``, whose map guides.
            **kwargs: Passed to the classification loss.

        Returns:
            ``loss_cls``, ``loss_b2``, ``loss_b1`` and ``loss_c``, which training adds up, and the accuracy.
        """
        feats = self.prepare(feats)
        losses = self._get_loss(self(feats), data_samples, **kwargs)
        losses['loss_cls'] = losses.pop('loss')
        labels = torch.cat([sample.gt_label for sample in data_samples])
        with torch.no_grad():
            class_map = self.localization_maps(feats, labels[:, None])
        size = (self.guidance_size,) * 2 if self.guidance_size else feats.require('images').shape[-2:]
        return losses | self.guidance(class_map, *self.branches(feats), size)
