"""The model type of wsol_mm: a backbone and a localization head."""

from collections.abc import Sequence

from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ...registry import MODELS
from ...structures import TokenFeatures
from ..weights import load_pretrained


@MODELS.register_module()
class ImageLocalizer(ImageClassifier):
    """Classifier that also localizes: asks its backbone for the attention that its head needs.

    Args:
        backbone (dict | nn.Module): A backbone that returns :class:`TokenFeatures`.
        head (dict | nn.Module): A :class:`LocalizationHead`.
        pretrained (str, optional): Weights to start a training from, of any layout that
            :func:`wsol_mm.models.weights.load_pretrained` knows: a file, an address or
            ``timm://<model name>``. They are loaded by :meth:`init_weights`, so never for a test.
        train_cfg (dict, optional): Batch augmentations, as in mmpretrain.
        data_preprocessor (dict, optional): mmpretrain's ``ClsDataPreprocessor`` if None or untyped.
        init_cfg (dict, optional): Initialisation config.
    """

    def __init__(
        self,
        backbone: dict | nn.Module,
        head: dict | nn.Module,
        pretrained: str | None = None,
        train_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        # Built here, so that names of wsol_mm are found without a default scope too.
        super().__init__(
            backbone if isinstance(backbone, nn.Module) else MODELS.build(backbone),
            head=head if isinstance(head, nn.Module) else MODELS.build(head),
            train_cfg=train_cfg,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        self.pretrained = pretrained

    def init_weights(self) -> None:
        """Initialise all weights, then load ``pretrained``."""
        first_time = not self.is_init
        super().init_weights()
        if first_time and self.pretrained is not None:
            load_pretrained(self, self.pretrained)

    def extract_feat(self, inputs: Tensor, out_attention: str | None = None) -> TokenFeatures:
        """Return the backbone's features of images (B, 3, H, W).

        Args:
            inputs (Tensor): Normalised images.
            out_attention (str, optional): ``'none'``, ``'class'`` or ``'full'``; what the head needs for
                its logits if None.
        """
        out_attention = self.head.loss_attention if out_attention is None else out_attention
        return self.backbone(inputs, out_attention=out_attention)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Return the losses of a batch: images (B, 3, H, W) and their labels."""
        return self.head.loss(self.extract_feat(inputs, self.head.loss_attention), data_samples)

    def predict(self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None) -> list[DataSample]:
        """Return data samples with scores and localization maps (see :class:`LocalizationHead`)."""
        return self.head.predict(self.extract_feat(inputs, self.head.predict_attention), data_samples)
