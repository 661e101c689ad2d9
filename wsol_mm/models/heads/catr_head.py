"""Head of CATR: category-aware allocation transformer (Chen et al., ICCV 2023)."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from wsol_mm.models.layers import CategoryStimulation, ObjectConstraint, SemanticConv, class_token_attention
from wsol_mm.models.losses import AutomaticLossWeighting
from wsol_mm.models.weights.layouts import TIMM_VIT, Layout, Rule
from wsol_mm.models.weights.official import OfficialCheckpoints
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

from mmpretrain.structures import DataSample
from torch import Tensor

from .localization_head import LocalizationHead

# Both official repositories, which name the two halves of CSM differently. `block0.0.weight` belongs to OCM,
# `blocks.0.` to the backbone; OCM's layers are stored apart there and as one grouped convolution here.
_DOUBLE_CONV = r'([0134]\.\w+)'
CATR_RULES: tuple[Rule, ...] = (
    *TIMM_VIT.rules,
    (rf'att_layer\.down(?:_1)?\.1\.UConv\.{_DOUBLE_CONV}', r'head.csm.encoder.\1'),
    (rf'att_layer\.up(?:_1)?\.conv\.UConv\.{_DOUBLE_CONV}', r'head.csm.decoder.\1'),
    (r'att_cls\.weight', r'head.csm.classifier.weight'),
    (r'block(\d+)\.0\.weight', r'head.ocm.branch_conv.weight[\1]'),
    (r'block(\d+)\.1\.(\w+)', r'head.ocm.branch_norm.\2[\1]'),
    (r'block_catconv\.weight', r'head.ocm.fuse_conv.weight'),
    (r'block_catbn\.(\w+)', r'head.ocm.fuse_norm.\1'),
    (r'AutomaticWeightedLoss\.params', r'head.loss_weighting.params'),
)
CATR_VIT = Layout(
    name='CATR (blocks.0.attn.qkv.weight, ..., att_layer.down.1.UConv.0.weight)',
    markers=(*TIMM_VIT.markers, r'att_layer\.down(?:_1)?\.1\.UConv\.0\.weight', r'att_cls\.weight'),
    rules=CATR_RULES,
)

#: A part with all its defaults.
DEFAULT_PART: Mapping = MappingProxyType({})


@MODELS.register_module()
class CATRHead(LocalizationHead):
    """Class maps from the patch tokens and from the attention, coupled with the class token's attention.

    The logits are the spatial means of a 3x3 convolution on the patch tokens. The CSM makes a second set of
    class maps from the class token's attention in all layers and heads, with a classification loss of its
    own. The OCM, which only training needs, predicts a foreground map from the first layers: it is tied to
    the attention map M, and the lowest values of M are pushed towards zero. M is the sum over the heads of
    the mean over the layers. The localization map of class c is M times the sum of its two maps.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels D of the feature map.
        num_layers: Number L of layers of the backbone.
        num_heads: Number H of heads of the backbone.
        csm: Options of :class:`CategoryStimulation`: ``base_channels``. None leaves the CSM out.
        ocm: Of the OCM: ``num_layers`` K it looks at (9), ``area_loss``, options of
            :class:`LowAttentionAreaLoss`, and ``map_loss``, of :class:`MapAlignmentLoss`; either is left out
            if None. None leaves the OCM out.
        loss_weighting: Learn the weights of the losses (:class:`AutomaticLossWeighting`). If not, they are
            added up.
        **kwargs: Further arguments of :class:`LocalizationHead`.

    Raises:
        ValueError: If the OCM is to look at more layers than there are.
    """

    @property
    def loss_needs(self) -> frozenset[str]:
        """Training needs the attention of the class token."""
        return frozenset({'class_attention'})

    predict_needs = frozenset({'class_attention'})
    official = OfficialCheckpoints(
        'catr',
        layouts=(CATR_VIT,),
        dimensions={'head.semantic_conv.weight': 4, 'head.csm.classifier.weight': 4},
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_layers: int = 12,
        num_heads: int = 6,
        csm: Mapping | None = DEFAULT_PART,
        ocm: Mapping | None = DEFAULT_PART,
        loss_weighting: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.semantic_conv = SemanticConv(in_channels, num_classes)
        self.csm = None if csm is None else CategoryStimulation(num_layers * num_heads, num_classes, **csm)
        self.ocm: ObjectConstraint | None = None
        self.area_loss = self.map_loss = None
        if ocm is not None:
            self._build_ocm(**ocm)
        parts = {'cls': self.semantic_conv, 'csm': self.csm, 'area': self.area_loss, 'map': self.map_loss}
        #: Names of the losses that share the learned weighting, in its order.
        self.weighted_losses = [name for name, part in parts.items() if part is not None]
        self.loss_weighting = AutomaticLossWeighting(len(self.weighted_losses)) if loss_weighting else None

    def _build_ocm(
        self,
        num_layers: int = 9,
        area_loss: Mapping | None = DEFAULT_PART,
        map_loss: Mapping | None = DEFAULT_PART,
    ) -> None:
        if not 1 <= num_layers <= self.num_layers:
            raise ValueError(
                f'ocm.num_layers: expected an integer from 1 to {self.num_layers}, got {num_layers}'
            )
        if area_loss is not None:
            self.area_loss = MODELS.build({'type': 'wsol_mm.LowAttentionAreaLoss', **area_loss})
        if map_loss is not None:
            self.ocm = ObjectConstraint(num_layers, self.num_heads)
            self.map_loss = MODELS.build({'type': 'wsol_mm.MapAlignmentLoss', **map_loss})

    def attention_rows(self, feats: Features) -> Tensor:
        """Return the class token's attention of every layer and head, (B, L*H, h, w), layer by layer.

        Raises:
            ValueError: If the features carry no attention of the class token, or the backbone has other
                numbers of layers or heads than this head.
        """
        attention = feats.require('class_attention')
        if attention.shape[1:3] != (self.num_layers, self.num_heads):
            raise ValueError(
                f'class_attention: expected num_layers={self.num_layers} with num_heads={self.num_heads}, as '
                f'the head has, got {attention.shape[1]} layers with {attention.shape[2]} heads'
            )
        return feats.on_grid(attention).flatten(1, 2)

    def attention_map(self, feats: Features) -> Tensor:
        """Return M, the class token's attention, summed over heads, averaged over layers, (B, h, w)."""
        return class_token_attention(feats).mean(dim=1) * self.num_heads

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, (B, C), in training and at test time alike; the CSM takes no part."""
        return self.semantic_conv.pooled(feats.feature_map)

    def raw_losses(self, feats: Features, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Return the losses of a batch without their weights, scalars.

        Args:
            feats: With ``class_attention``.
            data_samples: With ``gt_label``.

        Returns:
            ``cls``, ``csm``, ``area`` and ``map``, of the parts that are on, and the accuracies of the batch
            if ``cal_acc``.
        """
        losses = self.classification_losses(self(feats), data_samples)
        rows = self.attention_rows(feats)
        if self.csm is not None:
            losses['csm'] = self.cross_entropy(self.csm.pooled(self.csm(rows)), data_samples)
        return losses | self.constraint_losses(feats, rows)

    def classification_losses(self, logits: Tensor, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Return ``cls``, and the accuracies of the batch if ``cal_acc``, from logits (B, C)."""
        losses = self._get_loss(logits, data_samples)
        return {'cls': losses.pop('loss'), **losses}

    def cross_entropy(self, logits: Tensor, data_samples: Sequence[DataSample]) -> Tensor:
        """Return the classification loss of logits (B, C), a scalar."""
        return self._get_loss(logits, data_samples)['loss']

    def constraint_losses(self, feats: Features, rows: Tensor) -> dict[str, Tensor]:
        """Return the losses of the OCM, ``area`` and ``map``; ``rows`` are :meth:`attention_rows`."""
        attention = self.attention_map(feats)
        losses: dict[str, Tensor] = {}
        if self.area_loss is not None:
            losses['area'] = self.area_loss(attention)
        if self.map_loss is not None:
            foreground = self.ocm(rows[:, : self.ocm.branch_conv.in_channels])
            losses['map'] = self.map_loss(foreground, attention)
        return losses

    def loss(self, feats: Features, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Return the losses of a batch.

        Args:
            feats: With ``class_attention``.
            data_samples: With ``gt_label``.

        Returns:
            ``loss_cls``, ``loss_csm``, ``loss_area`` and ``loss_map``, of the parts that are on, weighted;
            training adds them up. For the log, the same without weights as ``cls``, ``csm``, ``area`` and
            ``map``, and the accuracies of the batch if ``cal_acc``.
        """
        return self.weigh(self.raw_losses(feats, data_samples))

    def weigh(self, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted losses under their names in training, beside the unweighted values."""
        losses = [raw[name] for name in self.weighted_losses]
        if self.loss_weighting is not None:
            losses = self.loss_weighting(losses)
        keys = [f'loss_{name}' for name in self.weighted_losses]
        return {**raw, **dict(zip(keys, losses, strict=True))}

    def semantic_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the sum of both maps of the wanted classes, (B, K, h, w)."""
        maps = self.semantic_conv.class_maps(feats.feature_map, labels)
        if self.csm is None:
            return maps
        return maps + self.csm.class_maps(self.csm(self.attention_rows(feats)), labels)

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return attention times the sum of both maps of the wanted classes, (B, K, h, w)."""
        return self.attention_map(feats)[:, None] * self.semantic_maps(feats, labels)
