"""Head of SAT: spatial-aware token (Wu et al., ICCV 2023)."""

from collections.abc import Sequence
from typing import Any

from wsol_mm.models.layers import SemanticConv, fused_spatial_mask
from wsol_mm.models.weights.layouts import TIMM_VIT, Layout
from wsol_mm.models.weights.official import OfficialCheckpoints
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

from mmpretrain.structures import DataSample
from torch import Tensor

from .localization_head import LocalizationHead

# SAT names its position `loc_embed` and keeps the kernel of its normalization loss as a weight.
SAT_VIT = Layout(
    name='SAT (blocks.0.attn.qkv.weight, ..., loc_token)',
    markers=(*TIMM_VIT.markers, r'loc_token', r'loc_embed'),
    rules=(
        *TIMM_VIT.rules,
        (r'loc_token', r'backbone.spatial_token'),
        (r'loc_embed', r'backbone.spatial_pos_embed'),
        (r'weight', r'head.normalization_loss.filter.kernel'),
    ),
)


@MODELS.register_module()
class SATHead(LocalizationHead):
    """Classifies the patch tokens, and reads the map from the masks of the spatial token.

    The logits are the spatial means of a 3x3 convolution on the patch tokens. The localization map is
    the mean of the backbone's spatial masks, one for all classes. Training adds two regularisers on
    that map. The backbone is a :class:`SpatialTokenTransformer`; where its masks meet the features
    is its matter.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels D of the feature map.
        area_loss: Area regulariser; :class:`BatchAreaLoss` with the area of CUB, 0.25, if None.
        normalization_loss: Second regulariser; :class:`NormalizationLoss` if None.
        **kwargs: Further arguments of :class:`LocalizationHead`.
    """

    loss_needs = frozenset({'spatial_mask'})
    predict_needs = frozenset({'spatial_mask'})
    class_agnostic = True
    inherits_classifier = False
    official = OfficialCheckpoints('sat', layouts=(SAT_VIT,), dimensions={'head.semantic_conv.weight': 4})

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        area_loss: dict | None = None,
        normalization_loss: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.semantic_conv = SemanticConv(in_channels, num_classes)
        self.area_loss = MODELS.build({'type': 'BatchAreaLoss', **(area_loss or {})})
        self.normalization_loss = MODELS.build({'type': 'NormalizationLoss', **(normalization_loss or {})})

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, (B, C), in training and at test time alike."""
        return self.semantic_conv.pooled(feats.feature_map)

    def loss(self, feats: Features, data_samples: Sequence[DataSample], **kwargs: Any) -> dict[str, Tensor]:
        """Return the losses of a batch.

        Args:
            feats: With ``'spatial_mask'``.
            data_samples: With ``gt_label``.
            **kwargs: Passed to the classification loss.

        Returns:
            ``loss_cls``, ``loss_area``, ``loss_norm``, which training adds up, and ``mean_area``, the mean
            area of the maps of the batch, for the log.

        Raises:
            ValueError: If the features carry no spatial mask.
        """
        maps = fused_spatial_mask(feats)
        losses = super().loss(feats, data_samples, **kwargs)
        # The log calls the sum `loss`.
        losses['loss_cls'] = losses.pop('loss')
        losses['loss_area'] = self.area_loss(maps)
        losses['loss_norm'] = self.normalization_loss(maps)
        losses['mean_area'] = maps.detach().mean()
        return losses

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the mean of the spatial masks, (B, 1, h, w); ``labels`` are not used.

        Raises:
            ValueError: If the features carry no spatial mask.
        """
        return fused_spatial_mask(feats)[:, None]
