"""GEM (CVPR 2024): classes that are texts, and maps of the patches that match them."""

from typing import Any

from wsol_mm.models.utils.precision import at_least_float32
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .localization_head import LocalizationHead


@MODELS.register_module()
class GEMHead(LocalizationHead):
    """Compare images and patches with the texts of classes; it has no parameter.

    Args:
        num_classes: Number of classes C, until texts are set.
        in_channels: Channels E of images and texts.
        logit_scale: Factor of the cosines that makes them logits, that of CLIP.
        **kwargs: Further arguments of :class:`LocalizationHead`.
    """

    inherits_classifier = False
    needs_feature_map = False

    class_texts: Tensor
    map_texts: Tensor

    def __init__(self, num_classes: int, in_channels: int, logit_scale: float = 100.0, **kwargs: Any) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.logit_scale = logit_scale
        self._has_texts = False
        # Made from the names of the classes each time: no part of a checkpoint.
        for name in ('class_texts', 'map_texts'):
            self.register_buffer(name, torch.zeros(num_classes, in_channels), persistent=False)

    def set_texts(self, class_texts: Tensor, map_texts: Tensor | None = None) -> None:
        """Set what the classes are.

        Args:
            class_texts: Features of a text for every class, of unit length, (C, E).
            map_texts: Those that the patches are compared with, (C, E), if they are others.

        Raises:
            ValueError: If the shapes are not as said.
        """
        map_texts = class_texts if map_texts is None else map_texts
        for name, texts in (('class_texts', class_texts), ('map_texts', map_texts)):
            if texts.dim() != 2 or texts.shape[1] != self.in_channels or len(texts) != len(class_texts):
                raise ValueError(
                    f'{name}: expected features (C, {self.in_channels}) of the same classes, got the shape '
                    f'{tuple(texts.shape)}'
                )
        self.num_classes, self._has_texts = len(class_texts), True
        self.class_texts, self.map_texts = class_texts.to(self.class_texts), map_texts.to(self.map_texts)

    @property
    def logits_needs(self) -> frozenset[str]:
        """The class token, in the space of the texts."""
        return frozenset({'cls_token'})

    @property
    def predict_needs(self) -> frozenset[str]:
        """The class token, and the patches of GEM's path."""
        return self.logits_needs | {'gem_map'}

    def forward(self, feats: Features) -> Tensor:
        """Return the scaled cosines of the class token with the texts, (B, C).

        Raises:
            ValueError: If no texts have been set.
        """
        if not self._has_texts:
            raise ValueError(
                'model.class_names: expected the names of what is to be found, got none. Give a list or a '
                'text file with a name per line'
            )
        token = F.normalize(at_least_float32(feats.require('cls_token')), dim=-1)
        return self.logit_scale * token @ self.class_texts.to(token.dtype).T

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the cosines of the patches with the texts of the wanted classes, (B, K, h, w)."""
        patches = F.normalize(at_least_float32(feats.require('gem_map')), dim=1)
        texts = self.map_texts.to(patches.dtype)[labels]
        return torch.einsum('bke,behw->bkhw', texts, patches)
