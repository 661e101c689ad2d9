"""All maps that a model can show of an image: of its layers, and the steps to its localization map."""

from collections.abc import Sequence
from typing import NamedTuple

from wsol_mm.models.layers import class_token_attention, rollout_map
from wsol_mm.models.localizers.backbone_features import backbone_gives
from wsol_mm.structures import CENTER_CROP

import torch
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor


class ImageMaps(NamedTuple):
    """Maps of one image on the patch grid (h, w), un-normalised, on the CPU.

    What the model does not have is None, or not among the layers.

    Attributes:
        coupled: Localization map of the first of ``loc_labels``.
        attention: The method's class-agnostic attention map.
        semantic: Its class-dependent factor, of the same class as ``coupled``.
        rollout: Attention Rollout of the class token.
        layers: Maps of the layers (L, h, w), by what they are; empty for a network without attention.
    """

    coupled: Tensor
    attention: Tensor | None
    semantic: Tensor | None
    rollout: Tensor | None
    layers: dict[str, Tensor]


@torch.no_grad()
def predict_with_maps(
    model: BaseModel, batch: dict[str, Sequence]
) -> tuple[list[DataSample], list[ImageMaps]]:
    """Predict a batch, and collect the maps behind the predictions.

    The whole attention exists for one image at a time. Of ten crops, the centre crop is shown, the one that
    localization maps are made of.

    Args:
        model: An :class:`~wsol_mm.models.localizers.ImageLocalizer` in evaluation mode.
        batch: ``inputs`` and ``data_samples``, as ``pseudo_collate`` gives them.

    Returns:
        Predictions on the CPU, and the maps of each.
    """
    data = model.data_preprocessor(batch, False)
    samples = model.predict(data['inputs'], data['data_samples'])
    inputs = data['inputs'][:, CENTER_CROP] if data['inputs'].dim() == 5 else data['inputs']
    collected = [_collect(model, image[None], sample) for image, sample in zip(inputs, samples, strict=True)]
    return [sample.cpu() for sample in samples], collected


def _collect(model: BaseModel, image: Tensor, sample: DataSample) -> ImageMaps:
    head = model.head
    feats = head.prepare(model.extract_feat(image, head.predict_needs))
    layers, rollout = {}, None
    if 'full_attention' in backbone_gives(model.backbone):
        full = model.extract_feat(image, {'full_attention'})
        layers['class-token attention'] = class_token_attention(full)
        rollout = rollout_map(full)[0].float().cpu()
    for name, title in getattr(model.backbone, 'layer_map_titles', {}).items():
        if name in feats.extras:
            layers[title] = feats.on_grid(feats.extras[name])
    wanted = sample.loc_labels[None, :1].to(image.device)
    semantic = None if head.class_agnostic else head.semantic_maps(feats, wanted)
    return ImageMaps(
        coupled=sample.loc_maps[0].float().cpu(),
        attention=sample.attn_map.float().cpu() if 'attn_map' in sample else None,
        semantic=None if semantic is None else semantic[0, 0].float().cpu(),
        rollout=rollout,
        layers={name: maps[0].float().cpu() for name, maps in layers.items()},
    )
