"""Head of SCM: spatial calibration of TS-CAM's maps in training (Bai et al., ECCV 2022)."""

from collections.abc import Sequence

from mmpretrain.structures import DataSample
from torch import Tensor

from ...registry import MODELS
from ...structures import TokenFeatures
from ..layers import SpatialCalibration, min_max
from .ts_cam_head import TSCAMHead

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
        num_classes (int): Number of classes C.
        in_channels (int): Width D of the tokens.
        conv_channels (int, optional): Channels of the backbone's ``conv_map``; None for a plain
            transformer, which has none.
        iterations (Sequence[int], optional): Newton-Schulz iterations of every calibration layer. As in
            the reference if None: (16, 4, 4, 4), of a hybrid backbone (4, 4, 4, 4).
        alpha (float): Start of the Newton-Schulz iterations, see
            :class:`~wsol_mm.models.layers.SpatialCalibrationLayer`.
        eps (float): Added to the divisors of the calibration and of the min-max scaling. With 0, as in the
            reference, a constant attention map gives NaN.
        calibrate_test_logits (bool, optional): Whether test logits are calibrated too. As in the reference
            if None: only with a hybrid backbone.
        **kwargs: Further arguments of :class:`TSCAMHead`.
    """

    loss_attention = 'class'
    predict_attention = 'class'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        conv_channels: int | None = None,
        iterations: Sequence[int] | None = None,
        alpha: float = 0.002,
        eps: float = 0.0,
        calibrate_test_logits: bool | None = None,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, conv_channels, **kwargs)
        hybrid = conv_channels is not None
        if iterations is None:
            iterations = _HYBRID_ITERATIONS if hybrid else _TRANSFORMER_ITERATIONS
        self.eps = eps
        self.calibrate_test_logits = hybrid if calibrate_test_logits is None else calibrate_test_logits
        self.calibration = SpatialCalibration(iterations, alpha, eps)

    @property
    def logits_attention(self) -> str:
        """Attention that the test logits need: none, unless they are calibrated."""
        return 'class' if self.calibrate_test_logits else 'none'

    def forward(self, feats: TokenFeatures) -> Tensor:
        """Return the test logits, (B, C).

        Raises:
            ValueError: If the head has a convolutional classifier and the features no ``conv_map``, or if
                the logits are calibrated and the features carry no attention.
        """
        return self.calibrated_logits(feats) if self.calibrate_test_logits else super().forward(feats)

    def calibrated_logits(self, feats: TokenFeatures) -> Tensor:
        """Return the training logits, (B, C): means of the calibrated maps, in float32 or better."""
        maps = self.semantic_conv(feats.patch_map)
        return self.add_conv_logits(self.calibration.mean_scores(maps, self.attention_map(feats)), feats)

    def loss(self, feats: TokenFeatures, data_samples: Sequence[DataSample], **kwargs) -> dict[str, Tensor]:
        """Return the classification loss (and accuracy) of the training logits.

        Args:
            feats (TokenFeatures): With the attention named in ``loss_attention``.
            data_samples (Sequence[DataSample]): With their labels.
            **kwargs: Passed to the loss module.
        """
        return self._get_loss(self.calibrated_logits(feats), data_samples, **kwargs)

    def attention_map(self, feats: TokenFeatures) -> Tensor:
        """Return the attention summed over all layers and scaled to 0..1 per image, (B, h, w)."""
        attention = super().attention_map(feats)
        return min_max(attention.flatten(1), self.eps).unflatten(1, attention.shape[1:])
