"""Head of BAS: background activation suppression (Wu et al., CVPR 2022)."""

import re
from collections.abc import Sequence
from typing import Any

from wsol_mm.models.layers import SemanticConv
from wsol_mm.models.utils import at_least_float32, autocast_off
from wsol_mm.models.weights.layouts import Layout
from wsol_mm.models.weights.official import OfficialCheckpoints
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.func import functional_call

from .localization_head import LocalizationHead

CONV_INITS = ('xavier', 'normal')


def _layout(network: str, marker: str, trunk: str, back_end: str, copies: str) -> Layout:
    """Return the layout of one network: expressions for the names of its parts.

    The files of ILSVRC keep the copies that the authors' code masks with, which hold nothing of their own.
    """
    return Layout(
        name=f'BAS on {network} ({marker}, ..., classifier_loc.0.weight)',
        markers=(re.escape(marker), r'classifier_loc\.0\.weight', r'classifier(?:_cls)?\.4\.weight'),
        rules=(
            (rf'({trunk}\..+)', r'backbone.\1'),
            (rf'({back_end}\..+)', r'head.back_end.\1'),
            (r'classifier(?:_cls)?\.([024]\.(?:weight|bias))', r'head.classifier.\1'),
            (r'classifier_loc\.0\.(weight|bias)', r'head.generator.\1'),
        ),
        dropped=(r'classifier_cls_copy\..+', rf'{copies}\..+'),
    )


BAS_LAYOUTS = (
    _layout('VGG16', 'conv5_3.weight', r'conv[1-4]_[123]', r'conv5_[123]', r'conv_copy_5_[123]'),
    _layout('ResNet', 'layer4.0.conv1.weight', r'(?:conv1|bn1|layer[123])', 'layer4', 'layer4_copy'),
    _layout(
        *('Inception v3', 'Mixed_7c.branch1x1.conv.weight', r'(?:Conv2d_\d[ab]_\dx\d|Mixed_[56][a-e])'),
        *(r'Mixed_7[abc]', r'Mixed_7[abc]_copy'),
    ),
    _layout('MobileNet v1', 'model.13.3.weight', r'model\.(?:\d|1[01])', r'model\.1[23]', 'erase_branch'),
)


@MODELS.register_module()
class BASHead(LocalizationHead):
    """Class maps by the back end of a network, and foreground maps by a generator in front of it.

    The classifier on the back end's features gives positive class maps M; the logits are their spatial
    means. The generator, a 3x3 convolution with sigmoid on the backbone's feature map F, gives one foreground
    map per class. In training, the map s of the labelled class is taught by what the same weights, frozen,
    still see in F * (1 - s), by its area, and by the cross-entropy of the class maps within s
    (docs/specifications/cnn_baselines.md, section B2). At test time only logits and maps are computed.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels D of the feature map.
        back_end: What is between feature map and classifier: a config of a module that takes ``in_channels``
            and has ``out_channels``, such as :class:`~wsol_mm.models.layers.ResNetBackEnd`. Nothing if None.
        hidden_channels: Channels of the classifier's two hidden convolutions.
        map_classes: The localization map is the mean of the foreground maps of this many best classes, one
            for all classes; None for all C. With 1 (default), every class has the map of its own.
        guidance_weight: Weight of the cross-entropy within the foreground; without it if 0.
        background_loss: Options of :class:`~wsol_mm.models.losses.BackgroundActivationLoss`.
        conv_init: Initialisation of all convolutions, the back end's too: ``'xavier'`` uniform with biases 0,
            or ``'normal'`` with deviation 0.02 and PyTorch's biases (the authors' choice for VGG16).
        **kwargs: Further arguments of :class:`LocalizationHead`.

    Raises:
        ValueError: If ``map_classes`` is not between 1 and C, ``guidance_weight`` is negative, or
            ``conv_init`` is not one of the two.
    """

    official = OfficialCheckpoints('bas', layouts=BAS_LAYOUTS, dimensions={'head.generator.weight': 4})

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        back_end: dict | None = None,
        hidden_channels: int = 1024,
        map_classes: int | None = 1,
        guidance_weight: float = 0.5,
        background_loss: dict | None = None,
        conv_init: str = 'xavier',
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        map_classes = num_classes if map_classes is None else map_classes
        if not 1 <= map_classes <= num_classes:
            raise ValueError(
                f'map_classes: expected None or a number from 1 to {num_classes}, got {map_classes}'
            )
        if guidance_weight < 0:
            raise ValueError(f'guidance_weight: expected a number from 0, got {guidance_weight}')
        if conv_init not in CONV_INITS:
            raise ValueError(f'conv_init: expected one of {CONV_INITS}, got {conv_init!r}')
        self.map_classes, self.class_agnostic = map_classes, map_classes > 1
        self.guidance_weight = guidance_weight
        self.conv_init = conv_init
        self.background_loss = MODELS.build({'type': 'BackgroundActivationLoss', **(background_loss or {})})
        self.back_end = nn.Identity()
        channels = in_channels
        if back_end is not None:
            self.back_end = MODELS.build({**back_end, 'in_channels': in_channels})
            channels = self.back_end.out_channels
        self.classifier = nn.Sequential(
            nn.Conv2d(channels, hidden_channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden_channels, hidden_channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden_channels, num_classes, 1),
        )
        self.generator = SemanticConv(in_channels, num_classes)

    def init_weights(self) -> None:
        """Initialise all convolutions as ``conv_init`` says."""
        super().init_weights()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                if self.conv_init == 'normal':
                    nn.init.normal_(module.weight, std=0.02)
                    continue
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def pretrained_target(self, name: str) -> str:
        """Return where a weight of the whole network goes: those of its last stages to the back end."""
        inner = name.removeprefix('backbone.')
        return f'head.back_end.{inner}' if inner in self.back_end.state_dict() else name

    def class_maps(self, feats: Features) -> Tensor:
        """Return the positive class maps M, (B, C, h', w') on the grid of the back end."""
        prepared = feats.extras.get('class_maps')
        if prepared is not None:
            return prepared
        return self.classifier(self.back_end(feats.feature_map)).relu()

    def prepare(self, feats: Features) -> Features:
        """Return the features with the class maps."""
        return feats.with_extras(class_maps=self.class_maps(feats))

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, (B, C), in training and at test time alike."""
        return self.class_maps(feats).mean(dim=(2, 3))

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the foreground maps of the wanted classes, (B, K, h, w), or the one of the best classes."""
        if self.map_classes == 1:
            return self.foreground_maps(feats, labels)
        if self.map_classes == self.num_classes:
            maps = at_least_float32(self.generator(feats.feature_map)).sigmoid()
        else:
            maps = self.foreground_maps(feats, self(feats).topk(self.map_classes, dim=1).indices)
        return maps.mean(dim=1, keepdim=True)

    def foreground_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the foreground maps of the classes (B, K), (B, K, h, w), in float32 or better."""
        return self.generator.class_maps(feats.feature_map, labels).sigmoid()

    def loss(self, feats: Features, data_samples: Sequence[DataSample], **kwargs: Any) -> dict[str, Tensor]:
        """Return the losses of a batch.

        Args:
            feats: The features.
            data_samples: With ``gt_label``.
            **kwargs: Passed to the classification losses.

        Returns:
            ``loss_cls``, ``loss_guidance`` (the weighted cross-entropy within the foreground),
            ``loss_background`` and ``loss_area``, which training adds up.
        """
        labels = torch.cat([sample.gt_label for sample in data_samples])
        class_maps = self.class_maps(feats)
        logits = class_maps.mean(dim=(2, 3))
        maps = self.foreground_maps(feats, labels[:, None])
        losses = self._get_loss(logits, data_samples, **kwargs)
        # The log calls the sum `loss`.
        losses['loss_cls'] = losses.pop('loss')
        if self.guidance_weight:
            within = self.foreground_logits(class_maps, maps)
            losses['loss_guidance'] = (
                self.guidance_weight * self._get_loss(within, data_samples, **kwargs)['loss']
            )
        background = self.background_scores(feats.feature_map.detach(), maps, labels)
        whole = at_least_float32(logits.gather(1, labels[:, None])[:, 0])
        suppression, area = self.background_loss(background, whole, maps[:, 0])
        return losses | {'loss_background': suppression, 'loss_area': area}

    @staticmethod
    def foreground_logits(class_maps: Tensor, maps: Tensor) -> Tensor:
        """Return the means of the class maps (B, C, h', w') within foreground maps (B, 1, h, w), (B, C)."""
        pooled = F.adaptive_avg_pool2d(maps, class_maps.shape[-2:])
        weights = pooled.flatten(1) / pooled[0].numel()
        return (class_maps.flatten(2) @ weights[..., None].to(class_maps.dtype))[..., 0]

    def background_scores(self, feature_map: Tensor, maps: Tensor, labels: Tensor) -> Tensor:
        """Return the scores of the labels outside the foreground, (B,), with a gradient for the maps alone.

        Batch norms see the statistics of the masked features in training, and keep their own.

        Args:
            feature_map: Feature map of the backbone, (B, D, h, w).
            maps: Foreground maps of the labels, (B, 1, h, w).
            labels: Class indices (B,).
        """
        masked = feature_map.detach() * (1 - maps).to(feature_map.dtype)
        hidden = _with_fixed_weights(self.classifier[:-1], _with_fixed_weights(self.back_end, masked))
        last = self.classifier[-1]
        with autocast_off(hidden):
            hidden = at_least_float32(hidden)
            rows = last.weight.detach()[labels].to(hidden.dtype).flatten(1)
            biases = last.bias.detach()[labels].to(hidden.dtype)
            scores = torch.baddbmm(biases[:, None, None], rows[:, None], hidden.flatten(2))
        return scores.relu().mean(dim=(1, 2))


def _with_fixed_weights(module: nn.Module, x: Tensor) -> Tensor:
    """Run a module with a gradient for its input alone; its running statistics stay as they are."""
    state = {name: parameter.detach() for name, parameter in module.named_parameters()}
    # Copies: batch norm writes into its buffers.
    state |= {name: buffer.clone() for name, buffer in module.named_buffers()}
    return functional_call(module, state, (x,))
