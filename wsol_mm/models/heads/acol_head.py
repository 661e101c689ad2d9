"""Head of ACoL: adversarial complementary learning (Zhang et al., CVPR 2018)."""

from collections.abc import Sequence
from typing import Any

from wsol_mm.models.layers import SemanticConv, hidden_convs, scaled_maps
from wsol_mm.models.utils import network_init
from wsol_mm.models.weights.layouts import (
    INCEPTION_RULE,
    RESNET_RULE,
    VGG16_FEATURES,
    Layout,
    Rule,
    vgg16_rules,
)
from wsol_mm.models.weights.official import OfficialCheckpoints
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from .localization_head import LocalizationHead


def _layout(network: str, marker: str, trunk: Sequence[Rule]) -> Layout:
    branches = (('A', 'a'), ('B', 'b'))
    return Layout(
        name=f'WSOL benchmark, {network}-ACoL (classifier_A.0.weight, classifier_B.0.weight, ...)',
        markers=(marker, r'classifier_A\.0\.weight', r'classifier_B\.0\.weight'),
        rules=(
            *trunk,
            *(
                (rf'classifier_{theirs}\.{index}\.(weight|bias)', rf'head.{name.format(ours)}.\1')
                for theirs, ours in branches
                for index, name in ((0, 'convs_{}.0.0'), (2, 'convs_{}.1.0'), (4, 'semantic_conv_{}'))
            ),
        ),
    )


ACOL_LAYOUTS = (
    _layout('VGG16', r'features\.0\.weight', vgg16_rules(VGG16_FEATURES)),
    _layout('ResNet-50', r'layer1\.0\.conv1\.weight', [RESNET_RULE]),
    _layout('Inception-v3', r'Mixed_6e\.branch1x1\.conv\.weight', [INCEPTION_RULE]),
)


@MODELS.register_module()
class ACoLHead(LocalizationHead):
    """Two convolutional classifiers; the second sees what is left when the first one's region is erased.

    Each has hidden 3x3 convolutions with ReLU and a 1x1 convolution to class maps. The map of a class in
    branch A, scaled to 0..1, is erased where it reaches the threshold; branch B sees the other positions of
    the features. Both are trained by the cross-entropy; logits are those of branch A alone. The localization
    map of a class is the larger of its two maps, each scaled to 0..1. It erases the map of the same class, as
    the reference does for the label, so that branch B runs once for every wanted class.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels D of the feature map.
        hidden_channels: Channels of the two hidden convolutions of a branch.
        erase_threshold: Where the scaled map of branch A reaches it, features are erased.
        conv_init: Initialisation, see :func:`~wsol_mm.models.utils.network_init`; the reference has
            ``'kaiming'`` on ResNet-50.
        **kwargs: Further arguments of :class:`LocalizationHead`.

    Raises:
        ValueError: If there are not two ``hidden_channels``, or ``conv_init`` is unknown.
    """

    official = OfficialCheckpoints(
        'acol', layouts=ACOL_LAYOUTS, dimensions={'head.semantic_conv_b.weight': 4}
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_channels: Sequence[int] = (1024, 1024),
        erase_threshold: float = 0.7,
        conv_init: str = 'xavier',
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **{'init_cfg': network_init(conv_init), **kwargs})
        if len(hidden_channels) != 2:
            raise ValueError(f'hidden_channels: expected two numbers, got {hidden_channels}')
        self.erase_threshold = erase_threshold
        self.convs_a = hidden_convs(in_channels, hidden_channels)
        self.convs_b = hidden_convs(in_channels, hidden_channels)
        self.semantic_conv_a = SemanticConv(hidden_channels[-1], num_classes, kernel_size=1)
        self.semantic_conv_b = SemanticConv(hidden_channels[-1], num_classes, kernel_size=1)

    def hidden_a(self, feats: Features) -> Tensor:
        """Return the hidden features of branch A, (B, D', h, w)."""
        hidden = feats.extras.get('hidden_a')
        return self.convs_a(feats.feature_map) if hidden is None else hidden

    def prepare(self, feats: Features) -> Features:
        """Return the features with the hidden ones of branch A."""
        return feats.with_extras(hidden_a=self.hidden_a(feats))

    def forward(self, feats: Features) -> Tensor:
        """Return the logits of branch A, (B, C)."""
        return self.semantic_conv_a.pooled(self.hidden_a(feats))

    def attention(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the scaled maps of branch A of the wanted classes, (B, K, h, w), without gradient."""
        with torch.no_grad():
            return scaled_maps(self.semantic_conv_a.class_maps(self.hidden_a(feats), labels))

    def kept(self, attention: Tensor) -> Tensor:
        """Return where nothing is erased, a mask; a constant map, whose attention is NaN, erases nothing."""
        return ~(attention >= self.erase_threshold)

    def hidden_b(self, feats: Features, attention: Tensor) -> Tensor:
        """Return the hidden features of branch B, (B * K, D', h, w), when K maps (B, K, h, w) are erased."""
        erased = feats.feature_map[:, None] * self.kept(attention)[:, :, None]
        return self.convs_b(erased.flatten(0, 1))

    def loss(self, feats: Features, data_samples: Sequence[DataSample], **kwargs: Any) -> dict[str, Tensor]:
        """Return the losses of a batch.

        Args:
            feats: Features.
            data_samples: With ``gt_label``, whose region is erased.
            **kwargs: Passed to the classification losses.

        Returns:
            ``loss_a`` and ``loss_b``, which training adds up, and the accuracy of branch A.
        """
        feats = self.prepare(feats)
        losses = self._get_loss(self(feats), data_samples, **kwargs)
        losses['loss_a'] = losses.pop('loss')
        labels = torch.cat([sample.gt_label for sample in data_samples])
        hidden = self.hidden_b(feats, self.attention(feats, labels[:, None]))
        losses['loss_b'] = self._get_loss(self.semantic_conv_b.pooled(hidden), data_samples, **kwargs)['loss']
        return losses

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the larger of the scaled maps of both branches, (B, K, h, w)."""
        attention = self.attention(feats, labels)
        hidden = self.hidden_b(feats, attention)
        maps = self.semantic_conv_b.class_maps(hidden, labels.reshape(-1, 1)).view_as(attention)
        return torch.maximum(attention, scaled_maps(maps))
