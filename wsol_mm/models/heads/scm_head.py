"""Head of SCM: spatial calibration of TS-CAM's maps in training (Bai et al., ECCV 2022)."""

from collections.abc import Sequence
from typing import Any

from wsol_mm.models.layers import SpatialCalibration, min_max
from wsol_mm.models.weights.layouts import CONFORMER, TIMM_VIT, Layout, Rule
from wsol_mm.models.weights.official import OfficialCheckpoints
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

from mmpretrain.structures import DataSample
from torch import Tensor

from .ts_cam_head import TSCAMHead

# Two scalars per calibration layer; everything else is named as in TS-CAM.
_RULES: tuple[Rule, ...] = (
    (r'layers\.(\d+)\.thred', r'head.calibration.layers.\1.threshold'),
    (r'layers\.(\d+)\.fuse\._loss_rate', r'head.calibration.layers.\1.similarity_scale'),
)
_MARKER = r'layers\.0\.fuse\._loss_rate'

SCM_VIT = Layout(
    name='SCM on DeiT or ViT (blocks.0.attn.qkv.weight, ..., layers.0.fuse._loss_rate)',
    markers=(*TIMM_VIT.markers, _MARKER),
    rules=(*TIMM_VIT.rules, *_RULES),
)
SCM_CONFORMER = Layout(
    name='SCM on Conformer (conv_trans_2.trans_block.attn.qkv.weight, ..., layers.0.fuse._loss_rate)',
    markers=(*CONFORMER.markers, _MARKER),
    rules=(*CONFORMER.rules, *_RULES),
)

# Newton-Schulz iterations of the reference's layers.
_TRANSFORMER_ITERATIONS = (16, 4, 4, 4)
_HYBRID_ITERATIONS = (4, 4, 4, 4)


@MODELS.register_module()
class SCMHead(TSCAMHead):
    """TS-CAM's head, trained through layers that calibrate its semantic maps by its attention.

    In training the logits are the spatial means of the calibrated semantic maps, and gradients reach the
    backbone through the maps and through the attention. At test time the calibration is dropped: the
    logits are the means of the semantic maps as they are, and the localization map of class c is the
    min-max scaled attention times the semantic map of c. The reference keeps the calibration in the test
    logits of a hybrid backbone (Conformer), never in the maps.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels D of the feature map.
        conv_channels: Channels of a hybrid backbone's ``'conv_map'``; None for no convolutional classifier.
        iterations: Newton-Schulz iterations of every calibration layer. As in the reference if None: (16, 4,
            4, 4), of a hybrid backbone (4, 4, 4, 4).
        alpha: Start of the Newton-Schulz iterations, see
            :class:`~wsol_mm.models.layers.SpatialCalibrationLayer`.
        eps: Added to the divisors of the calibration and of the min-max scaling. With 0, as in the reference,
            a constant attention map gives NaN.
        calibrate_test_logits: Whether test logits are calibrated too. As in the reference if None: only with
            a hybrid backbone.
        **kwargs: Further arguments of :class:`TSCAMHead`.
    """

    official = OfficialCheckpoints(
        'scm', layouts=(SCM_CONFORMER, SCM_VIT), dimensions={'head.semantic_conv.weight': 4}
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        conv_channels: int | None = None,
        iterations: Sequence[int] | None = None,
        alpha: float = 0.002,
        eps: float = 0.0,
        calibrate_test_logits: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, conv_channels, **kwargs)
        hybrid = conv_channels is not None
        if iterations is None:
            iterations = _HYBRID_ITERATIONS if hybrid else _TRANSFORMER_ITERATIONS
        self.eps = eps
        self.calibrate_test_logits = hybrid if calibrate_test_logits is None else calibrate_test_logits
        self.calibration = SpatialCalibration(iterations, alpha, eps)

    @property
    def logits_needs(self) -> frozenset[str]:
        """Test logits need the attention of the class token only if they are calibrated."""
        return self.predict_needs if self.calibrate_test_logits else super().logits_needs

    @property
    def loss_needs(self) -> frozenset[str]:
        """The calibration needs the attention of the class token."""
        return self.predict_needs

    @property
    def predict_needs(self) -> frozenset[str]:
        """Maps need the attention of the class token."""
        return super().logits_needs | {'class_attention'}

    def forward(self, feats: Features) -> Tensor:
        """Return the test logits, (B, C)."""
        return self.calibrated_logits(feats) if self.calibrate_test_logits else super().forward(feats)

    def calibrated_logits(self, feats: Features) -> Tensor:
        """Return the training logits, (B, C): means of the calibrated maps, in float32 or better."""
        maps = self.semantic_conv(feats.feature_map)
        return self.add_conv_logits(self.calibration.mean_scores(maps, self.attention_map(feats)), feats)

    def loss(self, feats: Features, data_samples: Sequence[DataSample], **kwargs: Any) -> dict[str, Tensor]:
        """Return the classification loss (and accuracy) of the training logits.

        Args:
            feats: With what ``loss_needs`` names.
            data_samples: With their labels.
            **kwargs: Passed to the loss module.
        """
        return self._get_loss(self.calibrated_logits(feats), data_samples, **kwargs)

    def attention_map(self, feats: Features) -> Tensor:
        """Return the attention summed over all layers and scaled to 0..1 per image, (B, h, w)."""
        attention = super().attention_map(feats)
        return min_max(attention.flatten(1), self.eps).unflatten(1, attention.shape[1:])
