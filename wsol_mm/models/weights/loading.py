"""Start a model from pretrained weights of any known layout."""

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from mmengine.logging import MMLogger
from torch import Tensor, nn

from .converters import known_layouts
from .foreign_layouts import foreign_layouts, layout_of_module
from .layouts import Entry, Layout, describe_names, find_layout
from .sources import fetch_state_dict
from .whole_layers import TIMM_BACKBONE, check_needed_weights, check_whole_layers

_POS_EMBED, _CLS_TOKEN = 'backbone.pos_embed', 'backbone.cls_token'
# What backbones of mmpretrain resize themselves while they are filled.
_POSITION_TABLES = re.compile(r'backbone\.(?:.*\.)?(?:pos_embed|relative_\w+|rel_pos_[hw])')


class LoadReport(NamedTuple):
    """What became of the weights.

    Attributes:
        loaded: Entries of the model that were filled.
        skipped: Names in the file, each with the reason why it was not used.
        fresh: Entries of the model, or parts of them, that keep their initial values.
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
    classifier's bias (docs/specifications/ts_cam.md, section 2.1). A head with
    ``inherits_classifier=False`` takes nothing of a plain classifier. Backbone and head adapt what
    takes more than a name (``fit_pretrained``): a position embedding of another patch grid, for one. What
    was loaded, skipped and left fresh is logged, one line each.

    Args:
        model: With ``backbone`` and ``head``, such as :class:`ImageLocalizer`.
        checkpoint: See :func:`fetch_state_dict`.
        logger: The current logger of MMEngine if None.

    Returns:
        Names by what became of them.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is no checkpoint (:class:`CheckpointError`), has none of the known layouts,
            matches nothing in the model's backbone, has backbone weights of another shape, or fits the
            backbone in part (:func:`check_whole_layers`).
    """
    logger = MMLogger.get_current_instance() if logger is None else logger
    theirs = fetch_state_dict(checkpoint)
    layout = find_layout(theirs, _layouts_for(model.backbone))
    if layout is None:
        raise _nothing_matches(checkpoint, model.backbone, theirs)
    own = model.state_dict()
    chosen: dict[str, Tensor] = {}
    skipped: list[str] = []
    misfits: list[str] = []
    takes_head = getattr(model.head, 'inherits_classifier', True) or not _is_plain_classifier(layout, theirs)
    place = getattr(model.head, 'pretrained_target', str)
    resizes_tables = not hasattr(model.backbone, 'fit_pretrained')
    entries = [
        entry._replace(target=entry.target and place(entry.target))
        for entry in _entries(layout, theirs, checkpoint)
    ]
    check_needed_weights(model, entries, checkpoint)
    values = {entry.target or entry.name: entry.value for entry in entries}
    kept = _fit(model, values, checkpoint)
    for name, target, _ in entries:
        value = values[target or name]
        if target is None or target not in own or (target.startswith('head.') and not takes_head):
            skipped.append(name)
        elif value.shape == own[target].shape or (resizes_tables and _POSITION_TABLES.fullmatch(target)):
            chosen[target] = value
        elif target.startswith('head.'):
            skipped.append(f'{name} {tuple(value.shape)} for {tuple(own[target].shape)}')
        else:
            misfits.append(f'{name} {tuple(value.shape)} for {tuple(own[target].shape)}')
    if not any(name.startswith('backbone.') and name not in (_POS_EMBED, _CLS_TOKEN) for name in chosen):
        raise _nothing_matches(checkpoint, model.backbone, theirs, misfits)
    if misfits:
        raise ValueError(
            f'{checkpoint}: expected the shapes of {type(model.backbone).__name__}, got others (file for '
            f'model): {describe_names(misfits)}'
        )
    check_whole_layers(model, entries, chosen, kept, checkpoint)
    _fill(model, chosen, checkpoint)
    fresh = dict.fromkeys([*(name for name in own if name not in chosen), *kept])
    report = LoadReport(list(chosen), skipped, list(fresh))
    logger.info(f'Loaded {len(report.loaded)} of {len(own)} entries from {checkpoint} ({layout.name})')
    logger.info(f'Skipped {len(report.skipped)} entries of the file: {_all_names(report.skipped)}')
    logger.info(f'Left fresh {len(report.fresh)} entries of the model: {_all_names(report.fresh)}')
    return report


def _layouts_for(backbone: nn.Module) -> tuple[Layout, ...]:
    """Return the layouts that a backbone is filled from, the first choice first."""
    own = getattr(backbone, 'layouts', ())
    return (*own, *foreign_layouts(backbone), *known_layouts(), layout_of_module(backbone))


def _fill(model: nn.Module, weights: Mapping[str, Tensor], checkpoint: str | Path) -> None:
    try:
        model.load_state_dict(weights, strict=False)
    except (RuntimeError, AssertionError) as error:  # of shapes, and of tables that cannot be resized
        raise ValueError(
            f'{checkpoint}: expected the shapes of {type(model.backbone).__name__}, got others: '
            f'{" ".join(str(error).split())}'
        ) from error


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


def _fit(model: nn.Module, values: dict[str, Tensor], checkpoint: str | Path) -> list[str]:
    """Let backbone and head adapt the weights; return the names of what keeps its initial values."""
    try:
        return [
            name
            for part in (model.backbone, model.head)
            if hasattr(part, 'fit_pretrained')
            for name in part.fit_pretrained(values)
        ]
    except ValueError as error:
        raise ValueError(f'{checkpoint}: {error}') from error


def _all_names(names: Iterable[str]) -> str:
    return ', '.join(names) or 'none'


def _nothing_matches(
    checkpoint: str | Path, backbone: nn.Module, names: Iterable[str], misfits: list[str] | None = None
) -> ValueError:
    shapes = f'. Shapes differ (file for model): {describe_names(misfits)}' if misfits else ''
    return ValueError(
        f'{checkpoint}: expected weights of the backbone in one of the layouts '
        f'{"; ".join(layout.name for layout in _layouts_for(backbone))}, got the names '
        f'{describe_names(names)}{shapes}. Weights of timm are taken by {TIMM_BACKBONE}'
    )
