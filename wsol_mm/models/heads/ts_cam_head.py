"""Head of TS-CAM: token semantic coupled attention map (Gao et al., ICCV 2021)."""

from typing import Any

from wsol_mm.models.layers import SemanticConv, class_token_attention
from wsol_mm.models.weights.layouts import CONFORMER, TIMM_VIT
from wsol_mm.models.weights.official import OfficialCheckpoints
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import torch.nn.functional as F
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn

from .localization_head import LocalizationHead

CONV_INITS = ('default', 'kaiming')


@MODELS.register_module()
class TSCAMHead(LocalizationHead):
    """Semantic maps by a 3x3 convolution on the patch tokens, coupled with the class attention.

    The logits are the spatial means of the semantic maps, plus, for a hybrid backbone, those of a
    linear classifier on its pooled convolutional features. The localization map of class c is the
    class token's attention, averaged over heads and summed over layers, times the raw semantic map
    of c; the convolutional classifier takes no part in it.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels D of the feature map.
        conv_channels: Channels of a hybrid backbone's ``'conv_map'``; None for no convolutional classifier.
        conv_init: Initialisation of the semantic convolution: ``'default'`` is PyTorch's (as the reference
            does for DeiT), ``'kaiming'`` normal with fan-out (as it does for Conformer).
        **kwargs: Further arguments of :class:`LocalizationHead`.

    Raises:
        ValueError: If ``conv_init`` is not one of the two.
    """

    official = OfficialCheckpoints(
        'ts-cam', layouts=(CONFORMER, TIMM_VIT), dimensions={'head.semantic_conv.weight': 4}
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        conv_channels: int | None = None,
        conv_init: str = 'default',
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        if conv_init not in CONV_INITS:
            raise ValueError(f'conv_init: expected one of {CONV_INITS}, got {conv_init!r}')
        self.conv_init = conv_init
        self.semantic_conv = SemanticConv(in_channels, num_classes)
        self.conv_fc = None if conv_channels is None else nn.Linear(conv_channels, num_classes)

    @property
    def logits_needs(self) -> frozenset[str]:
        """The convolutional features, if there is a classifier of them."""
        return frozenset() if self.conv_fc is None else frozenset({'conv_map'})

    @property
    def loss_needs(self) -> frozenset[str]:
        """Training needs what the logits need."""
        return self.logits_needs

    @property
    def predict_needs(self) -> frozenset[str]:
        """Maps need the attention of the class token as well."""
        return self.logits_needs | {'class_attention'}

    def init_weights(self) -> None:
        """Initialise as the reference does; the bias of the convolution keeps PyTorch's default."""
        super().init_weights()
        if self.conv_init == 'kaiming':
            nn.init.kaiming_normal_(self.semantic_conv.weight, mode='fan_out', nonlinearity='relu')
        if self.conv_fc is not None:
            trunc_normal_(self.conv_fc.weight, std=0.02)
            nn.init.zeros_(self.conv_fc.bias)

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, (B, C), in training and at test time alike."""
        return self.add_conv_logits(self.semantic_conv.pooled(feats.feature_map), feats)

    def add_conv_logits(self, logits: Tensor, feats: Features) -> Tensor:
        """Return the logits, (B, C), with those of the convolutional classifier added if there is one."""
        if self.conv_fc is None:
            return logits
        return logits + self.conv_fc(F.adaptive_avg_pool2d(feats.require('conv_map'), 1).flatten(1))

    def attention_map(self, feats: Features) -> Tensor:
        """Return the attention factor of the map: summed over all layers, (B, h, w)."""
        return class_token_attention(feats).sum(dim=1)

    def semantic_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the semantic maps of the wanted classes, (B, K, h, w)."""
        return self.semantic_conv.class_maps(feats.feature_map, labels)

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return attention times semantic map of the wanted classes, (B, K, h, w)."""
        return self.attention_map(feats)[:, None] * self.semantic_maps(feats, labels)
