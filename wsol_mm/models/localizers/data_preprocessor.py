"""Normalisation of images and of their crops."""

from collections.abc import Mapping, Sequence
from typing import Any

from wsol_mm.registry import BATCH_AUGMENTS, MODELS

import numpy as np
import torch
from mmpretrain.models.utils import ClsDataPreprocessor
from mmpretrain.structures import DataSample
from torch import Tensor, nn


@MODELS.register_module()
class LocalizationDataPreprocessor(ClsDataPreprocessor):
    """mmpretrain's ``ClsDataPreprocessor`` that also takes several crops per image (``TenCrop``).

    Images travel to the device as they come, 8 bits a value, and are normalised there; the host waits neither
    for them nor for the labels, which stay on the host at test time.

    The parent turns BGR into RGB by the first axis of an image, which for crops (10, 3, H, W) is not the
    colour, so it would leave their colours swapped without a word.

    Args:
        batch_augments: As in the parent; names of wsol_mm, such as ``HideAndSeek``, are found without a
            default scope too.
        **kwargs: Further arguments of the parent.
    """

    def __init__(self, batch_augments: dict | None = None, **kwargs: Any) -> None:
        if batch_augments:
            given = batch_augments['augments']
            augments = [
                BATCH_AUGMENTS.build(augment) if isinstance(augment, dict) else augment
                for augment in (given if isinstance(given, list | tuple) else [given])
            ]
            batch_augments = {**batch_augments, 'augments': augments}
        super().__init__(batch_augments=batch_augments, **kwargs)
        self._non_blocking = True

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch.

        Args:
            data: ``inputs``: images (B, 3, H, W) or crops (B, T, 3, H, W), or a list of B of them, or a
                mapping of cached features;
                ``data_samples``, optional.
            training: Whether to apply batch augmentations.

        Returns:
            The same with normalised ``inputs``, (B, 3, H, W) or (B, T, 3, H, W).
        """
        samples = data.get('data_samples')
        if isinstance(data['inputs'], Mapping):
            return self._prepare_features(data, training)
        if not training:
            return {**self._prepare_images({'inputs': data['inputs']}, training), 'data_samples': samples}
        self._move_labels(samples)
        # What batch augmentations draw is drawn where the images are.
        with torch.device(self.device):
            return self._prepare_images(data, training)

    def _move_labels(self, data_samples: Sequence[DataSample] | None) -> None:
        """Move the labels of a batch to the device, together; the parent would wait for them."""
        if self.device.type == 'cpu' or not data_samples or 'gt_label' not in data_samples[0]:
            return
        labels = [sample.gt_label for sample in data_samples]
        moved = torch.cat(labels).to(self.device, non_blocking=True).split([len(label) for label in labels])
        for sample, label in zip(data_samples, moved, strict=True):
            sample.set_gt_label(label)

    def _prepare_images(self, data: dict, training: bool) -> dict:
        inputs = data['inputs']
        if not isinstance(inputs, Tensor) and len(inputs) and inputs[0].dim() == 4:
            inputs = torch.stack(list(inputs))
        if not isinstance(inputs, Tensor) or inputs.dim() != 5:
            return super().forward(data, training)
        batch = super().forward({**data, 'inputs': inputs.flatten(0, 1)}, training)
        batch['inputs'] = batch['inputs'].unflatten(0, inputs.shape[:2])
        return batch

    def _prepare_features(self, data: dict, training: bool) -> dict:
        if training and self.batch_augments is not None:
            raise ValueError(
                'train_cfg.augments: expected none with cached features, which are no images, got some'
            )
        inputs = {name: value.float() for name, value in self.cast_data(data['inputs']).items()}
        samples = data.get('data_samples')
        return {'inputs': inputs, 'data_samples': self.cast_data(samples) if training else samples}


def preprocessor_config(config: dict, backbone: nn.Module, head: nn.Module) -> dict:
    """Return the config of a preprocessor, with what backbone and head know.

    Args:
        config: Settings of the preprocessor; its type is ``LocalizationDataPreprocessor`` by default.
        backbone: Its ``data_config``, if it has one, holds ``mean`` and ``std`` (of 0..255) of the RGB images
            that its weights were trained with.
        head: Its number of classes makes the one-hot labels that batch augmentations mix.

    Raises:
        ValueError: If ``config`` contradicts the backbone.
    """
    own = {
        name: value for name, value in getattr(backbone, 'data_config', {}).items() if name in ('mean', 'std')
    }
    for name, value in own.items():
        given = config.get(name, value)
        if np.shape(given) != np.shape(value) or not np.allclose(given, value, rtol=0, atol=0.01):
            raise ValueError(
                f'data_preprocessor.{name}: expected {tuple(value)}, that of the weights of '
                f'{type(backbone).__name__}, got {tuple(given)}'
            )
    defaults = dict(
        type='wsol_mm.LocalizationDataPreprocessor', num_classes=getattr(head, 'num_classes', None)
    )
    return {**defaults, **(dict(to_rgb=True) if own else {}), **config, **own}
