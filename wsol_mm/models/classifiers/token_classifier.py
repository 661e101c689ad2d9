"""A linear classifier on the class token of a backbone of wsol_mm: a plain ViT, with its attention."""

from collections.abc import Collection, Sequence
from pathlib import Path

from wsol_mm.models.weights import load_pretrained
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

from torch import Tensor, nn

from .trained_classifier import TrainedClassifier


class _TokenModel(nn.Module):
    """Backbone and classifier, under the names that :func:`load_pretrained` knows."""

    def __init__(self, backbone: nn.Module, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.ModuleDict({'semantic_conv': nn.Linear(in_channels, num_classes)})
        #: What the backbone is asked for, and its last answer.
        self.needs: frozenset[str] = frozenset()
        self.features: Features | None = None

    def forward(self, images: Tensor) -> Tensor:
        self.features = self.backbone(images, self.needs | {'cls_token'})
        return self.head['semantic_conv'](self.features.require('cls_token'))


@MODELS.register_module()
class TokenClassifier(TrainedClassifier):
    """A linear classifier on the class token of a backbone that returns :class:`Features`.

    Beside the logits it gives what its backbone gives, such as the attention of the class token.

    Args:
        backbone: Config of the backbone; it gives ``'cls_token'``.
        num_classes: Number of classes C.
        checkpoint_path: Weights of any layout that :func:`wsol_mm.models.weights.load_pretrained` knows; all
            parameters must be in it. None leaves them random.
        mean: Of the images that it was trained with, three numbers of 0..255; the backbone's own if None.
        std: The same of their standard deviation.
        input_size: Side of the images, or height and width; the backbone's own by default.

    Raises:
        ValueError: If the backbone gives no class token, mean or std are not known, or weights are missing.
    """

    def __init__(
        self,
        backbone: dict | nn.Module,
        num_classes: int,
        checkpoint_path: str | Path | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        input_size: tuple[int, int] | None = None,
    ) -> None:
        built = backbone if isinstance(backbone, nn.Module) else MODELS.build(backbone)
        own = getattr(built, 'data_config', {})
        mean, std = (own.get('mean') if mean is None else mean), (own.get('std') if std is None else std)
        if mean is None or std is None:
            raise ValueError(
                f'classifier: expected mean and std (of 0..255) of the images that {type(built).__name__} '
                f'was trained with, got mean={mean} and std={std}'
            )
        if 'cls_token' not in getattr(built, 'gives', ()):
            raise ValueError(
                f'classifier.backbone: expected one that gives cls_token, got {type(built).__name__}'
            )
        side = getattr(built, 'img_size', None) or own.get('input_size', (224, 224))
        channels = built.num_features if hasattr(built, 'num_features') else built.embed_dims
        model = _TokenModel(built, num_classes, channels)
        if checkpoint_path is not None:
            fresh = load_pretrained(model, checkpoint_path).fresh
            if fresh:
                raise ValueError(
                    f'{checkpoint_path}: expected all weights of a classifier of {num_classes} classes, got '
                    f'none for {", ".join(fresh[:3])}'
                )
        data_config = dict(
            mean=tuple(mean), std=tuple(std), input_size=input_size or tuple(side), to_rgb=True
        )
        super().__init__(model.eval(), data_config, prefix_tokens=1)

    @property
    def kind(self) -> str:
        """What it is, for messages."""
        return f'linear classifier on {type(self.model.backbone).__name__}'

    @property
    def gives(self) -> frozenset[str]:
        """Also what the backbone gives."""
        return super().gives | self.model.backbone.gives

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits (B, C) of normalised images (B, 3, H, W)."""
        return self.model(images)

    def forward(self, images: Tensor, needs: Collection[str] = ()) -> Features:
        """Run the network; see :meth:`TrainedClassifier.forward`."""
        self.model.needs = frozenset(needs) & self.model.backbone.gives
        try:
            feats = super().forward(images, needs)
            given = self.model.features
        finally:
            self.model.needs, self.model.features = frozenset(), None
        return feats._replace(
            cls_token=given.cls_token,
            class_attention=given.class_attention,
            extras={**given.extras, **feats.extras},
            patch_start=given.patch_start,
        )
