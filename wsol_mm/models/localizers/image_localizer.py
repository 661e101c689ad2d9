"""The model type of wsol_mm: a backbone and a localization head."""

import logging
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from wsol_mm.models.heads import LocalizationHead
from wsol_mm.models.refinement import MapRefinement
from wsol_mm.models.weights import load_pretrained
from wsol_mm.registry import MODELS
from wsol_mm.structures import CENTER_CROP, NUM_CROPS, Features
from wsol_mm.structures.features import check_needs, features_from_cache

import torch
from mmengine.logging import MMLogger
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from .backbone_features import LOCALIZER_GIVES, backbone_gives, features_of, stage_modules
from .data_preprocessor import LocalizationDataPreprocessor, preprocessor_config
from .freezing import freeze_parameters, frozen_batch_norms
from .submodule_outputs import insert_layers


def _channels_of(backbone: nn.Module) -> dict[str, int]:
    """Return the argument of a head for the feature map of a backbone that says its channels."""
    channels = getattr(backbone, 'num_features', None) or getattr(backbone, 'embed_dims', None)
    return dict(in_channels=channels) if isinstance(channels, int) else {}


@MODELS.register_module()
class ImageLocalizer(ImageClassifier):
    """Classifier that also localizes: asks its backbone for what its head needs.

    Args:
        backbone: A backbone that returns :class:`Features` and says what it ``gives``, or any of mmpretrain's
            that returns feature maps.
        head: A :class:`LocalizationHead`. Without ``in_channels`` it gets the channels of the backbone, where
            the backbone says them.
        pretrained: Weights to start a training from, of any layout that
            :func:`wsol_mm.models.weights.load_pretrained` knows: a file, an address or ``timm://<model
            name>``. They are loaded by :meth:`init_weights`, so never for a test.
        train_cfg: Batch augmentations, as in mmpretrain.
        data_preprocessor: ``LocalizationDataPreprocessor`` if None or untyped. Mean and standard deviation
            are those of the backbone's ``data_config``, if it has one.
        init_cfg: Initialisation config.
        stages: Names of modules of the backbone, such as ``'layer3.0'``, whose outputs become the ``stages``
            of the features, for a head that needs them.
        inserts: Layers that change what named modules of the model return (see :func:`insert_layers`), such
            as ``dict(type='AttentionDropout', after=('backbone.layer3.0', 'backbone.layer4.2'))``.
        frozen: Shell patterns for the names of parameters that are not trained, e.g.
            ``'backbone.layers.[0-8].*'`` (see :func:`freeze_parameters`). They keep their initial or
            pretrained values, get no gradient and no weight decay. Batch normalisation whose parameters are
            all frozen uses its running statistics in training, too, and keeps them; dropout and stochastic
            depth of frozen layers stay active, because they regularise what is trained behind them (set their
            rates to 0 to be without). None or an empty list: everything is trained.
        channels_last: Whether images and convolutions lie in memory with the channels last, in which GPUs
            convolve faster, in mixed precision above all. It changes no value but by rounding.
        refinement: Config of a :class:`~wsol_mm.models.refinement.MapRefinement` between maps and boxes.

    Raises:
        TypeError: If the head does not localize.
        ValueError: If the head needs what the backbone does not give, ``stages`` or ``inserts`` name no
            module, the preprocessor contradicts the backbone's ``data_config``, a pattern of ``frozen``
            matches no parameter, or they match all, or several objects of an image shall be refined over
            views.
    """

    def __init__(
        self,
        backbone: dict | nn.Module,
        head: dict | nn.Module,
        pretrained: str | None = None,
        train_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        stages: Sequence[str] = (),
        inserts: Sequence[dict] = (),
        frozen: Sequence[str] | None = (),
        channels_last: bool = False,
        refinement: dict | None = None,
    ) -> None:
        # Built here, so that names of wsol_mm are found without a default scope too.
        backbone = backbone if isinstance(backbone, nn.Module) else MODELS.build(backbone)
        if not isinstance(head, nn.Module):
            head = MODELS.build({**_channels_of(backbone), **head})
        if data_preprocessor is None or isinstance(data_preprocessor, dict):
            data_preprocessor = preprocessor_config(data_preprocessor or {}, backbone, head)
        super().__init__(
            backbone,
            head=head,
            train_cfg=train_cfg,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        self.stages = tuple(stages)
        stage_modules(self.backbone, self.stages)  # raises where there is no such module
        self._check_needs()
        self.refinement = (
            None if refinement is None else MODELS.build({'type': 'MapRefinement', **refinement})
        )
        if self.refinement is not None and self.refinement.num_views > 1 and self.head.several_objects:
            raise ValueError(
                f'refinement: expected one view of an image with {type(self.head).__name__} of several '
                f'objects, which no two views have in the same order, got {self.refinement.num_views}'
            )
        self.inserts = insert_layers(self, inserts)
        self.pretrained = pretrained
        self.frozen = freeze_parameters(self, frozen or ())
        self.channels_last = channels_last
        if channels_last:
            self.to(memory_format=torch.channels_last)

    def _check_needs(self) -> None:
        backbone, head = type(self.backbone).__name__, type(self.head).__name__
        if not isinstance(self.head, LocalizationHead):
            raise TypeError(f'head: expected a LocalizationHead, got {head}')
        needs = self.head.loss_needs | self.head.logits_needs | self.head.predict_needs
        if 'stages' in needs and not self.stages:
            raise ValueError(f'stages: expected names of modules of {backbone}, which {head} needs, got none')
        check_needs(needs - LOCALIZER_GIVES, backbone_gives(self.backbone), backbone, asker=head)

    def init_weights(self) -> None:
        """Initialise all weights, then load ``pretrained``."""
        first_time = not self.is_init
        super().init_weights()
        if first_time and self.pretrained is not None:
            load_pretrained(self, self.pretrained)

    def _dump_init_info(self) -> None:
        """Write how each parameter was initialised into the log file, not to the console for want of one."""
        handlers = MMLogger.get_current_instance().handlers
        if any(isinstance(handler, logging.FileHandler) for handler in handlers):
            super()._dump_init_info()

    def train(self, mode: bool = True) -> 'ImageLocalizer':
        """Set the mode; frozen batch normalisations stay in evaluation mode."""
        super().train(mode)
        if mode and self.frozen:
            for module in frozen_batch_norms(self):
                module.eval()
        return self

    def extract_feat(
        self, inputs: Tensor | Mapping[str, Tensor], needs: Collection[str] | None = None
    ) -> Features:
        """Return the backbone's features of images (B, 3, H, W).

        Args:
            inputs: Normalised images; or features that were computed before (:class:`CachedFeatures`), by
                name, which do not pass the backbone.
            needs: What to return beyond the feature map; what the head needs for its logits if None.

        Raises:
            ValueError: If ``inputs`` has another shape, or the backbone does not give what is asked for.
        """
        if isinstance(inputs, Mapping):
            return features_from_cache(inputs)
        if inputs.dim() != 4:
            raise ValueError(
                'inputs: expected images (B, 3, H, W), or ten crops (B, 10, 3, H, W) at test time alone, got '
                f'the shape {tuple(inputs.shape)}'
            )
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        needs = self.head.logits_needs if needs is None else needs
        feats = features_of(self.backbone, inputs, needs, self.stages)
        return feats.with_extras(pixels=self._pixels(inputs)) if 'pixels' in needs else feats

    def _pixels(self, images: Tensor) -> Tensor:
        """Return what normalised images were before: RGB, 0..255."""
        preprocessor = self.data_preprocessor
        if getattr(preprocessor, 'mean', None) is not None:
            images = images * preprocessor.std + preprocessor.mean
        return images if getattr(preprocessor, 'to_rgb', False) else images.flip(1)

    def loss(
        self, inputs: Tensor | Mapping[str, Tensor], data_samples: list[DataSample]
    ) -> dict[str, Tensor]:
        """Return the losses of a batch: images (B, 3, H, W) and their labels."""
        return self.head.loss(self.extract_feat(inputs, self.head.loss_needs), data_samples)

    def predict(
        self, inputs: Tensor | Mapping[str, Tensor], data_samples: Sequence[DataSample] | None = None
    ) -> list[DataSample]:
        """Return data samples with scores and localization maps (see :class:`LocalizationHead`).

        Args:
            inputs: Normalised images (B, 3, H, W), or ten crops of each (B, 10, 3, H, W) from ``TenCrop``. Of
                crops, the mean of the soft-max scores ranks the classes, and the centre crop alone gives the
                maps. Every crop passes the backbone once; only the centre crops pay for what maps need beyond
                the logits.
            data_samples: One per image; new ones if None.

        Raises:
            ValueError: If ``inputs`` has another shape, or its colours have been left swapped, or there is a
                refinement and they are no images.
        """
        if self.refinement is not None:
            return self._predict_views(self.refinement, inputs, data_samples)
        if isinstance(inputs, Mapping) or inputs.dim() != 5:
            return self.head.predict(self.extract_feat(inputs, self.head.predict_needs), data_samples)
        if inputs.shape[1] != NUM_CROPS:
            raise ValueError(
                f'inputs: expected images (B, 3, H, W) or {NUM_CROPS} crops of each '
                f'(B, {NUM_CROPS}, 3, H, W), got the shape {tuple(inputs.shape)}'
            )
        if getattr(self.data_preprocessor, 'to_rgb', False) and not isinstance(
            self.data_preprocessor, LocalizationDataPreprocessor
        ):
            raise ValueError(
                "data_preprocessor: expected dict(type='LocalizationDataPreprocessor', ...) with TenCrop, "
                f'got {type(self.data_preprocessor).__name__}, which leaves the colours of crops as they are'
            )
        others = [i for i in range(NUM_CROPS) if i != CENTER_CROP]
        logits = self.head(self.extract_feat(inputs[:, others].flatten(0, 1)))
        centre = self.extract_feat(inputs[:, CENTER_CROP], self.head.predict_needs)
        return self.head.predict(centre, data_samples, other_crops=logits.unflatten(0, (-1, len(others))))

    def _predict_views(
        self,
        refinement: MapRefinement,
        inputs: Tensor | Mapping[str, Tensor],
        data_samples: Sequence[DataSample] | None,
    ) -> list[DataSample]:
        if isinstance(inputs, Mapping) or inputs.dim() != 4:
            found = 'cached features' if isinstance(inputs, Mapping) else f'the shape {tuple(inputs.shape)}'
            raise ValueError(f'inputs: expected images (B, 3, H, W) with model.refinement, got {found}')
        views = [self.extract_feat(view, self.head.predict_needs) for view in refinement.views(inputs)]
        pixels = self._pixels(inputs) if refinement.filters else None
        fuse = partial(refinement.fuse, pixels=pixels, unit=self.head.unit_maps)
        return self.head.predict(views[0], data_samples, other_views=views[1:], fuse=fuse)
