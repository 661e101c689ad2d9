"""What the benchmarks of training and inference compare: a model, a plain classifier, the explicit form."""

import inspect
import sys
from collections.abc import Collection
from typing import Any

from wsol_mm.models.backbones import TokenVisionTransformer
from wsol_mm.models.heads import LocalizationHead
from wsol_mm.models.localizers import ImageLocalizer
from wsol_mm.models.losses import SemanticBoostAdapter
from wsol_mm.models.weights import convert_state_dict
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.model import BaseModel
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from .explicit_attention import ExplicitViT, NoExplicitForm, explicit_form

#: The variants, in the order of their rows.
VARIANTS = ('ours', 'plain', 'explicit')
#: Best classes with a map, beside the ground-truth class.
MAP_TOPK = 5


class PlainHead(LinearClsHead):
    """mmpretrain's linear classifier on the class token; its scores reach the CPU in one copy.

    Where the backbone has no class token, it is on the mean of the feature map.

    Args:
        conv_channels: Of a hybrid backbone's convolutional features, which then have a linear classifier of
            their own, whose logits are added.
        **kwargs: Of mmpretrain's ``LinearClsHead``.
    """

    def __init__(self, conv_channels: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conv_fc = None if conv_channels is None else nn.Linear(conv_channels, self.num_classes)

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, (B, C)."""
        pooled = feats.feature_map.mean(dim=(2, 3)) if feats.cls_token is None else feats.cls_token
        logits = self.fc(pooled)
        if self.conv_fc is None:
            return logits
        return logits + self.conv_fc(F.adaptive_avg_pool2d(feats.require('conv_map'), 1).flatten(1))

    def _get_predictions(self, cls_score: Tensor, data_samples: list[DataSample]) -> list[DataSample]:
        return super()._get_predictions(cls_score.float().cpu(), data_samples)


class ExplicitModel(BaseModel):
    """The explicit form behind MMEngine's interface.

    Args:
        form: The form.
        data_preprocessor: Of the model that it is compared with.
        class_agnostic: Whether one map serves all classes.
    """

    def __init__(self, form: ExplicitViT, data_preprocessor: nn.Module, class_agnostic: bool) -> None:
        super().__init__(data_preprocessor=data_preprocessor)
        self.form = form
        self.class_agnostic = class_agnostic

    def forward(
        self, inputs: Tensor, data_samples: list[DataSample], mode: str
    ) -> dict[str, Tensor] | list[DataSample]:
        """Return the losses, or samples with scores and the maps that our models give, on the CPU."""
        labels = torch.cat([sample.gt_label for sample in data_samples]).to(inputs.device)
        if mode == 'loss':
            losses = self.form.losses(inputs, labels)
            return {f'loss_{name}': value for name, value in losses.items()}
        logits, maps = self.form.predict(inputs)
        if not self.class_agnostic:
            best = logits.topk(min(MAP_TOPK, logits.shape[1]), dim=1).indices
            wanted = torch.cat((labels[:, None], best), dim=1)
            maps = maps[torch.arange(len(maps), device=maps.device)[:, None], wanted]
        scores, maps = logits.float().softmax(dim=1).cpu(), maps.float().cpu()
        for sample, score, sample_maps in zip(data_samples, scores, maps, strict=True):
            sample.set_pred_score(score).set_pred_label(score.argmax(dim=0, keepdim=True))
            sample.loc_maps = sample_maps
        return data_samples


def build_localizer(config: Config, img_size: int | None) -> ImageLocalizer:
    """Build the model of a config, with PyTorch's random weights.

    Args:
        config: Of a training.
        img_size: Side of the images, instead of the backbone's.

    Raises:
        ValueError: If the config has no model of wsol_mm or no optimizer.
    """
    if config.get('model') is None or config.get('optim_wrapper') is None:
        raise ValueError('expected the config of a training, got one without model or optim_wrapper')
    settings = {'data_preprocessor': config.get('data_preprocessor'), **config.model, 'pretrained': None}
    if img_size is not None and 'img_size' in settings['backbone']:
        settings['backbone'] = {**settings['backbone'], 'img_size': img_size}
    model = MODELS.build(settings)
    if not isinstance(getattr(model, 'head', None), LocalizationHead):
        raise ValueError(f'expected a model with a localization head, got {type(model).__name__} without one')
    for module in model.modules():
        if isinstance(module, SemanticBoostAdapter) and module.class_names is None:
            # noise has no class names
            module.set_class_names([f'thing {number}' for number in range(model.head.num_classes)])
    return model


def plain_classifier(localizer: ImageLocalizer, config: Config) -> ImageClassifier:
    """Build the same backbone with :class:`PlainHead`.

    A transformer with further tokens or masks (SAT) becomes a plain one of the same size.

    Args:
        localizer: The model that it is compared with.
        config: Where that came from.
    """
    backbone = dict(config.model.backbone)
    if isinstance(localizer.backbone, TokenVisionTransformer):
        known = inspect.signature(TokenVisionTransformer.__init__).parameters
        backbone = {name: value for name, value in backbone.items() if name in known}
        backbone.update(type='TokenVisionTransformer', img_size=localizer.backbone.img_size)
    head = PlainHead(
        num_classes=localizer.head.num_classes,
        in_channels=localizer.head.in_channels,
        conv_channels=getattr(localizer.backbone, 'conv_channels', None),
        cal_acc=localizer.head.cal_acc,
    )
    model = ImageClassifier(MODELS.build(backbone), head=head)
    # The very one of the localizer, whose settings the config may give in two places.
    model.data_preprocessor = localizer.data_preprocessor
    return model


def build_variants(
    config: Config, names: Collection[str], img_size: int | None = None
) -> dict[str, BaseModel]:
    """Build what is compared, by the names of :data:`VARIANTS`.

    The model and its explicit form have the same weights. Where there is no such form, a line says so.

    Args:
        config: Of a training.
        names: Wanted variants, ``ours`` among them.
        img_size: Side of the images, instead of the backbone's.

    Raises:
        ValueError: If the config cannot be measured.
    """
    localizer = build_localizer(config, img_size)
    variants = {'ours': localizer}
    if 'plain' in names:
        variants['plain'] = plain_classifier(localizer, config)
    if 'explicit' in names:
        try:
            form = explicit_form(localizer)
        except NoExplicitForm as reason:
            print(f'{config.filename}: no explicit form: {reason}', file=sys.stderr, flush=True)
        else:
            state = convert_state_dict(localizer.head.official.method, form.state_dict())
            localizer.load_state_dict(state)
            variants['explicit'] = ExplicitModel(
                form, localizer.data_preprocessor, class_agnostic=localizer.head.class_agnostic
            )
    return variants
