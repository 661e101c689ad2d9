"""Head of CATR: category-aware allocation transformer (Chen et al., ICCV 2023)."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from mmpretrain.structures import DataSample
from torch import Tensor

from ...registry import MODELS
from ...structures import TokenFeatures
from ..layers import CategoryStimulation, ObjectConstraint, SemanticConv, class_token_attention
from ..losses import AutomaticLossWeighting
from .localization_head import LocalizationHead

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
        num_classes (int): Number of classes C.
        in_channels (int): Width D of the tokens.
        num_layers (int): Number L of layers of the backbone.
        num_heads (int): Number H of heads of the backbone.
        csm (Mapping, optional): Options of :class:`CategoryStimulation`: ``base_channels``. None leaves
            the CSM out.
        ocm (Mapping, optional): Of the OCM: ``num_layers`` K it looks at (9), ``area_loss``, options of
            :class:`LowAttentionAreaLoss`, and ``map_loss``, of :class:`MapAlignmentLoss`; either is left
            out if None. None leaves the OCM out.
        loss_weighting (bool): Learn the weights of the losses (:class:`AutomaticLossWeighting`). If not,
            they are added up.
        **kwargs: Further arguments of :class:`LocalizationHead`.

    Raises:
        ValueError: If the OCM is to look at more layers than there are.
    """

    loss_attention = 'class'
    predict_attention = 'class'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_layers: int = 12,
        num_heads: int = 6,
        csm: Mapping | None = DEFAULT_PART,
        ocm: Mapping | None = DEFAULT_PART,
        loss_weighting: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.semantic_conv = SemanticConv(in_channels, num_classes)
        self.csm = None if csm is None else CategoryStimulation(num_layers * num_heads, num_classes, **csm)
        self.ocm = self.area_loss = self.map_loss = None
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
            raise ValueError(f'ocm.num_layers must lie in 1..{self.num_layers}, got {num_layers}')
        if area_loss is not None:
            self.area_loss = MODELS.build({'type': 'wsol_mm.LowAttentionAreaLoss', **area_loss})
        if map_loss is not None:
            self.ocm = ObjectConstraint(num_layers, self.num_heads)
            self.map_loss = MODELS.build({'type': 'wsol_mm.MapAlignmentLoss', **map_loss})

    def attention_rows(self, feats: TokenFeatures) -> Tensor:
        """Return the class token's attention of every layer and head, (B, L*H, h, w), layer by layer.

        Raises:
            ValueError: If the features carry no attention of the class token, or the backbone has other
                numbers of layers or heads than this head.
        """
        attention = feats.attention
        if attention is None or attention.dim() != 4:
            raise ValueError("the features carry no rows: ask the backbone for out_attention='class'")
        if attention.shape[1:3] != (self.num_layers, self.num_heads):
            raise ValueError(
                f'the backbone has {attention.shape[1]} layers with {attention.shape[2]} heads, the head '
                f'num_layers={self.num_layers} and num_heads={self.num_heads}; they must agree'
            )
        height, width = feats.grid
        return attention[..., 1 : 1 + height * width].flatten(1, 2).unflatten(-1, (height, width))

    def attention_map(self, feats: TokenFeatures) -> Tensor:
        """Return M, the class token's attention, summed over heads, averaged over layers, (B, h, w)."""
        return class_token_attention(feats).mean(dim=1) * self.num_heads

    def forward(self, feats: TokenFeatures) -> Tensor:
        """Return the logits, (B, C), in training and at test time alike; the CSM takes no part."""
        return self.semantic_conv.pooled(feats.patch_map)

    def raw_losses(self, feats: TokenFeatures, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Return the losses of a batch without their weights, scalars.

        Args:
            feats (TokenFeatures): With attention ``'class'``.
            data_samples (Sequence[DataSample]): With ``gt_label``.

        Returns:
            dict[str, Tensor]: ``cls``, ``csm``, ``area`` and ``map``, of the parts that are on, and the
            accuracies of the batch if ``cal_acc``.
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

    def constraint_losses(self, feats: TokenFeatures, rows: Tensor) -> dict[str, Tensor]:
        """Return the losses of the OCM, ``area`` and ``map``; ``rows`` are :meth:`attention_rows`."""
        attention, losses = self.attention_map(feats), {}
        if self.area_loss is not None:
            losses['area'] = self.area_loss(attention)
        if self.map_loss is not None:
            foreground = self.ocm(rows[:, : self.ocm.branch_conv.in_channels])
            losses['map'] = self.map_loss(foreground, attention)
        return losses

    def loss(self, feats: TokenFeatures, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Return the losses of a batch.

        Args:
            feats (TokenFeatures): With attention ``'class'``.
            data_samples (Sequence[DataSample]): With ``gt_label``.

        Returns:
            dict[str, Tensor]: ``loss_cls``, ``loss_csm``, ``loss_area`` and ``loss_map``, of
            the parts that are on, weighted; training adds them up. For the log, the same without weights
            as ``cls``, ``csm``, ``area`` and ``map``, and the accuracies of the batch if ``cal_acc``.
        """
        return self.weigh(self.raw_losses(feats, data_samples))

    def weigh(self, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted losses under their names in training, beside the unweighted values."""
        losses = [raw[name] for name in self.weighted_losses]
        if self.loss_weighting is not None:
            losses = self.loss_weighting(losses)
        keys = [f'loss_{name}' for name in self.weighted_losses]
        return {**raw, **dict(zip(keys, losses, strict=True))}

    def semantic_maps(self, feats: TokenFeatures, labels: Tensor) -> Tensor:
        """Return the sum of both maps of the wanted classes, (B, K, h, w)."""
        maps = self.semantic_conv.class_maps(feats.patch_map, labels)
        if self.csm is None:
            return maps
        return maps + self.csm.class_maps(self.csm(self.attention_rows(feats)), labels)

    def localization_maps(self, feats: TokenFeatures, labels: Tensor) -> Tensor:
        """Return attention times the sum of both maps of the wanted classes, (B, K, h, w)."""
        return self.attention_map(feats)[:, None] * self.semantic_maps(feats, labels)
