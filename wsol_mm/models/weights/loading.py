"""Start a model from pretrained weights of any known layout."""

import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.logging import MMLogger
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from .layouts import LAYOUTS, Entry, Layout, describe_names, find_layout
from .sources import fetch_state_dict

_POS_EMBED, _CLS_TOKEN = 'backbone.pos_embed', 'backbone.cls_token'
_PATCH_WEIGHT = 'backbone.patch_embed.projection.weight'
_LOSS_WEIGHTS, _SKI_WEIGHT = 'head.loss_weighting.params', 'head.ski.weight'


class LoadReport(NamedTuple):
    """What became of the weights.

    Attributes:
        loaded (list[str]): Entries of the model that were filled.
        skipped (list[str]): Names in the file, each with the reason why it was not used.
        fresh (list[str]): Entries of the model that keep their initial values.
    """

    loaded: list[str]
    skipped: list[str]
    fresh: list[str]


def load_pretrained(
    model: nn.Module, checkpoint: str | Path, logger: logging.Logger | None = None
) -> LoadReport:
    """Fill a localizer with pretrained weights.

    The layout is recognised by its names. A classifier is left out only if its shape differs, as most
    published methods do: with 1000 classes an ImageNet checkpoint gives the semantic convolution its
    classifier's bias (TS-CAM, section 2.1). A head with ``inherits_classifier=False`` takes nothing of a
    plain classifier. The position embedding is interpolated if the patch grid
    differs. CATR's learned loss weights fill those of CDTR, whose loss of SKI, the last, keeps a fresh one.
    What was loaded, skipped and left fresh is logged, one line each.

    Args:
        model (nn.Module): With ``backbone`` and ``head``, such as :class:`ImageLocalizer`.
        checkpoint (str | Path): See :func:`fetch_state_dict`.
        logger (logging.Logger, optional): The current logger of MMEngine if None.

    Returns:
        LoadReport: Names by what became of them.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is no checkpoint (:class:`CheckpointError`), has none of the known layouts,
            matches nothing in the model's backbone, or has backbone weights of another shape.
    """
    logger = MMLogger.get_current_instance() if logger is None else logger
    theirs = fetch_state_dict(checkpoint)
    layout = find_layout(theirs)
    if layout is None:
        raise _nothing_matches(checkpoint, theirs)
    own = model.state_dict()
    chosen: dict[str, Tensor] = {}
    skipped: list[str] = []
    misfits: list[str] = []
    fresh_parts: list[str] = []
    takes_head = getattr(model.head, 'inherits_classifier', True) or not _is_plain_classifier(layout, theirs)
    entries = _entries(layout, theirs, checkpoint)
    lacks_ski = _SKI_WEIGHT in own and not any(entry.target == _SKI_WEIGHT for entry in entries)
    for name, target, value in entries:
        if target == _POS_EMBED and target in own:
            value = _fit_pos_embed(value, model.backbone, 'dist_token' in _last_parts(theirs), checkpoint)
        if target == _PATCH_WEIGHT and target in own and value.dim() == 2:
            value = _as_convolution(value, own[target])
        if target == _LOSS_WEIGHTS and lacks_ski and len(value) == len(own[target]) - 1:
            value = torch.cat((value, own[target][-1:]))
            fresh_parts.append(f'{target}[{len(value) - 1}]')
        if target not in own or (target.startswith('head.') and not takes_head):
            skipped.append(name)
        elif value.shape == own[target].shape:
            chosen[target] = value
        elif target.startswith('head.'):
            skipped.append(f'{name} {tuple(value.shape)} for {tuple(own[target].shape)}')
        else:
            misfits.append(f'{name} {tuple(value.shape)} for {tuple(own[target].shape)}')
    if not any(name.startswith('backbone.') and name not in (_POS_EMBED, _CLS_TOKEN) for name in chosen):
        raise _nothing_matches(checkpoint, theirs, misfits)
    if misfits:
        raise ValueError(
            f'{checkpoint} does not fit {type(model.backbone).__name__}: shapes differ (file for model) of '
            f'{describe_names(misfits)}'
        )
    model.load_state_dict(chosen, strict=False)
    report = LoadReport(list(chosen), skipped, [name for name in own if name not in chosen] + fresh_parts)
    logger.info(f'Loaded {len(report.loaded)} of {len(own)} entries from {checkpoint} ({layout.name})')
    logger.info(f'Skipped {len(report.skipped)} entries of the file: {_all_names(report.skipped)}')
    logger.info(f'Left fresh {len(report.fresh)} entries of the model: {_all_names(report.fresh)}')
    return report


def _entries(layout: Layout, weights: Mapping[str, Tensor], checkpoint: str | Path) -> list[Entry]:
    """Return the entries of a file; an error in them names it."""
    try:
        return layout.entries(weights)
    except ValueError as error:
        raise ValueError(f'{checkpoint}: {error}') from error


def _is_plain_classifier(layout: Layout, weights: Mapping[str, Tensor]) -> bool:
    """Return whether the head of a file is linear: no head of this package is."""
    return any(
        layout.rename(name) == 'head.semantic_conv.weight' and value.dim() == 2
        for name, value in weights.items()
    )


def _as_convolution(value: Tensor, own: Tensor) -> Tensor:
    """Return a patch embedding that was stored as a linear layer, as the first timm releases did."""
    return value.reshape(own.shape) if value.numel() == own.numel() else value


def _all_names(names: Iterable[str]) -> str:
    return ', '.join(names) or 'none'


def _last_parts(names: Iterable[str]) -> set[str]:
    return {name.rpartition('.')[2] for name in names}


def _nothing_matches(
    checkpoint: str | Path, names: Iterable[str], misfits: list[str] | None = None
) -> ValueError:
    shapes = f' Shapes differ (file for model): {describe_names(misfits)}.' if misfits else ''
    return ValueError(
        f'nothing in {checkpoint} matches the backbone. Its first names: {describe_names(names)}.{shapes} '
        f'Accepted layouts: {"; ".join(layout.name for layout in LAYOUTS)}'
    )


def _fit_pos_embed(value: Tensor, backbone: nn.Module, distilled: bool, checkpoint: str | Path) -> Tensor:
    """Return a position embedding (1, N, D) for the backbone's patch grid.

    The second place of a distilled DeiT belongs to its distillation token, which is not used here.
    """
    if distilled:
        value = torch.cat((value[:, :1], value[:, 2:]), dim=1)
    extra = backbone.num_extra_tokens
    if value.shape[1] == backbone.pos_embed.shape[1]:
        return value
    side = math.isqrt(value.shape[1] - extra)
    if side * side != value.shape[1] - extra:
        raise ValueError(
            f'the position embedding in {checkpoint} has {value.shape[1]} places: expected '
            f'{extra} and a square number, to interpolate it to the grid {backbone.patch_resolution}'
        )
    return resize_pos_embed(value, (side, side), backbone.patch_resolution, backbone.interpolate_mode, extra)
