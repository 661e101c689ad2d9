"""The methods' published checkpoints under the names used here: every entry must be known."""

from collections.abc import Mapping

from wsol_mm.registry import MODELS

from torch import Tensor

from .layouts import COMMON_LAYOUTS, Layout, describe_names, find_layout
from .official import OfficialCheckpoints
from .sources import unwrap_state_dict


def official_methods() -> dict[str, OfficialCheckpoints]:
    """Return the methods whose published checkpoints can be converted, by name: what the heads declare."""
    MODELS.import_from_location()
    declared = [vars(head)['official'] for head in MODELS.module_dict.values() if vars(head).get('official')]
    return {name: official for official in declared for name in (official.method, *official.also)}


def known_layouts() -> tuple[Layout, ...]:
    """Return all layouts that weights can be loaded from, the one with the most markers first."""
    official = [layout for method in official_methods().values() for layout in method.layouts]
    layouts = dict.fromkeys((*official, *COMMON_LAYOUTS))
    return tuple(sorted(layouts, key=lambda layout: -len(layout.markers)))


def convert_state_dict(method: str, state_dict: Mapping, source: str = 'the checkpoint') -> dict[str, Tensor]:
    """Rename the weights of a published checkpoint.

    Args:
        method: A key of :func:`official_methods`.
        state_dict: Weights under their official names, or a checkpoint around them; a prefix ``module.`` is
            taken off. The architecture is recognised by the names.
        source: Where they come from, for messages.

    Returns:
        The same weights, to be loaded with ``strict=True``. Entries that are stored in numbered parts there
        and as one tensor here are joined.

    Raises:
        ValueError: If the method or the architecture is not known, if an entry has no counterpart
            here (all such entries are named), if an entry of the method is missing, or if numbered
            entries that are one here do not fit together.
    """
    methods = official_methods()
    if method not in methods:
        raise ValueError(f'method: expected one of {sorted(methods)}, got {method!r}')
    official = methods[method]
    weights = unwrap_state_dict(state_dict, source)
    layout = find_layout(weights, official.layouts)
    if layout is None:
        raise ValueError(
            f'{source}: expected a checkpoint of {method} '
            f'({"; ".join(accepted.name for accepted in official.layouts)}), got the names '
            f'{describe_names(weights)}'
        )
    try:
        entries = layout.entries(weights)
    except ValueError as error:
        raise ValueError(f'{source}: expected a whole checkpoint of {method}, got a part: {error}') from error
    unknown = [entry.name for entry in entries if entry.target is None]
    if unknown:
        raise ValueError(f'{source}: expected entries of {method} alone, got {", ".join(unknown)} too')
    converted = {entry.target: entry.value for entry in entries if entry.target is not None}
    for name, dimensions in official.dimensions.items():
        found = converted[name].dim() if name in converted else 'no such entry'
        if found != dimensions:
            raise ValueError(
                f'{source}: expected a checkpoint of {method}, with {dimensions} dimensions of what is '
                f'called {name} here, got {found}. To start a training from the weights of a classifier, set '
                'model.pretrained instead'
            )
    return converted
