"""Head of TriLite: three regions on the features of a frozen backbone (Sabaghi and Oramas, CVPR 2026)."""

from collections.abc import Mapping, Sequence
from typing import Any

from wsol_mm.models.layers import RegionDisentanglement, region_features, region_probabilities
from wsol_mm.models.layers.region_disentanglement import BACKGROUND, FOREGROUND
from wsol_mm.models.weights.layouts import Layout
from wsol_mm.models.weights.official import OfficialCheckpoints
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from .guarded_head import GuardedHead


def _split_positions(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Add the position of the class token to it where there are registers: timm has none for it then."""
    names = [f'backbone.model.{name}' for name in ('register_tokens', 'cls_token', 'pos_embed')]
    if not all(name in weights for name in names):
        return weights
    _, token, table = names
    first, patches = weights[table][:, :1], weights[table][:, 1:]
    return {**weights, token: weights[token] + first, table: patches}


# The released model holds its backbone under DINOv2's own names: timm's but for registers and SwiGLU.
TRILITE = Layout(
    name='TriLite (triHead.activation_head.weight, ...)',
    markers=(r'triHead\.activation_head\.weight',),
    rules=(
        (r'triHead\.patch_classifier\.(.+)', r'head.patch_classifier.\1'),
        (r'triHead\.activation_head\.(.+)', r'head.regions.conv.\1'),
        (r'triHead\.bn_head\.(.+)', r'head.regions.bn.\1'),
        (r'global_classifier\.(.+)', r'head.classifier.\1'),
        (r'backbone\.model\.register_tokens', r'backbone.model.reg_token'),
        (r'(backbone\.model\..+\.mlp)\.w12\.(.+)', r'\1.fc1.\2'),
        (r'(backbone\.model\..+\.mlp)\.w3\.(.+)', r'\1.fc2.\2'),
        (r'(backbone\.model\..+)', r'\1'),
    ),
    dropped=(r'backbone\.model\.mask_token',),
    prepare=_split_positions,
)


@MODELS.register_module()
class TriLiteHead(GuardedHead):
    """Divides the patches into foreground, background and what is neither; the foreground is the map.

    A 3x3 convolution to three channels, batch normalisation and a soft-max give the regions. The mean feature
    of the foreground must be classified right, that of the background must not: nothing else supervises the
    regions. The class comes from the class token alone. One map serves all classes.

    Foreground and background can change places, because both kinds of patch can often be classified. The
    border of the images tells: it is background rather than object. See :class:`GuardedHead`.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels D of the feature map.
        tokens: See :class:`ProbeHead`; the reference takes DINOv2's tokens before the final normalisation.
        region_dropout: Dropout of the regions' mean features.
        background_loss: Adversarial loss of the background; its weight is half the number of classes, as
            published for CUB (100) and ILSVRC (500), if nothing is given.
        border_weight: Weight of the mean foreground on the border of the images, which is background as a
            rule; 0, as published, leaves it to the seed what becomes foreground.
        **kwargs: Further arguments of :class:`ProbeHead`.

    Raises:
        ValueError: If ``border_weight`` is negative.
    """

    unit_maps = True
    official = OfficialCheckpoints('trilite', layouts=(TRILITE,), dimensions={'head.regions.conv.weight': 4})

    area_names = ('on the border of the images', 'mean foreground')
    least_share = 1.0
    expected_area = 'a mean foreground of at least that on the border of the images'
    failure = 'foreground and background have changed places'
    remedy = 'Another seed helps'
    useless_map = 'inverted'

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        tokens: str = 'pre_norm',
        region_dropout: float = 0.0,
        background_loss: dict | None = None,
        border_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, tokens=tokens, **kwargs)
        if border_weight < 0:
            raise ValueError(f'border_weight: expected a number from 0, got {border_weight}')
        self.border_weight = border_weight
        self.regions = RegionDisentanglement(in_channels)
        self.region_dropout = nn.Dropout(region_dropout)
        self.patch_classifier = nn.Linear(in_channels, num_classes)
        # With it the term begins at about 0.5, whatever the number of classes.
        defaults = dict(type='AdversarialBackgroundLoss', loss_weight=num_classes / 2)
        self.background_loss = MODELS.build({**defaults, **(background_loss or {})})

    @property
    def loss_needs(self) -> frozenset[str]:
        """The tokens that are classified, and those of the regions."""
        return self.logits_needs | self._map_needs

    @property
    def predict_needs(self) -> frozenset[str]:
        """As for training."""
        return self.loss_needs

    def region_logits(self, feats: Features, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits, (B, C) each, of foreground and background.

        Args:
            feats: With what ``loss_needs`` names.
            probabilities: Of the three regions, (B, 3, h, w).
        """
        means = region_features(self.patch_features(feats), probabilities[:, [FOREGROUND, BACKGROUND]])
        means = means.to(self.patch_classifier.weight.dtype)
        foreground, background = self.patch_classifier(self.region_dropout(means)).unbind(dim=1)
        return foreground, background

    def loss(self, feats: Features, data_samples: Sequence[DataSample], **kwargs: Any) -> dict[str, Tensor]:
        """Return the losses of a batch.

        Args:
            feats: With what ``loss_needs`` names.
            data_samples: With ``gt_label``.
            **kwargs: Passed to the classification loss.

        Returns:
            ``loss_cls``, ``loss_foreground``, ``loss_background`` and, with a ``border_weight``,
            ``loss_border``, which training adds up; ``mean_area`` and ``border_area``, the mean foreground of
            all patches of the batch and of those on the border, for the log.
        """
        losses = super().loss(feats, data_samples, **kwargs)
        # The log calls the sum `loss`.
        losses['loss_cls'] = losses.pop('loss')
        labels = torch.cat([sample.gt_label for sample in data_samples])
        probabilities = region_probabilities(self.regions(self.patch_features(feats)))
        foreground, background = self.region_logits(feats, probabilities)
        losses['loss_foreground'] = nn.functional.cross_entropy(foreground, labels)
        losses['loss_background'] = self.background_loss(background, labels)
        areas = border_and_mean(probabilities[:, FOREGROUND]).mean(dim=0)
        if self.border_weight:
            losses['loss_border'] = self.border_weight * areas[0]
        self._keep_areas(areas)
        losses['border_area'], losses['mean_area'] = areas.detach()
        return losses

    def guarded_from(self, max_iters: int) -> int:
        """Return a quarter: at first foreground and background look for their places."""
        return max_iters // 4

    def restart(self) -> None:
        """Begin anew with other initial weights."""
        for module in (self.regions.conv, self.regions.bn, self.patch_classifier):
            module.reset_parameters()
        super().restart()

    def map_areas(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same two areas of predicted maps; inverted maps have more on the border."""
        areas = border_and_mean(maps)
        return areas, areas[:, 1] < areas[:, 0]

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the probability of the foreground, (B, 1, h, w); ``labels`` are not used."""
        return region_probabilities(self.regions(self.patch_features(feats)))[:, FOREGROUND, None]


def border_and_mean(maps: Tensor) -> Tensor:
    """Return the means of maps (B, h, w) over the patches on the border and over all patches, (B, 2)."""
    border = maps.new_ones(maps.shape[1:])
    border[1:-1, 1:-1] = 0
    return torch.stack([(maps * border).sum(dim=(1, 2)) / border.sum(), maps.mean(dim=(1, 2))], dim=1)
