"""The methods' published checkpoints under the names used here: every entry must be known."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .layouts import (
    CATR_VIT,
    CDTR_VIT,
    CONFORMER,
    LCTR_VIT,
    SAT_VIT,
    SCM_CONFORMER,
    SCM_VIT,
    TIMM_VIT,
    Layout,
    describe_names,
    find_layout,
)
from .sources import unwrap_state_dict


@dataclass(frozen=True)
class OfficialMethod:
    """How one method's published checkpoints are named.

    Attributes:
        layouts (tuple[Layout, ...]): One for each of its architectures.
        dimensions (tuple[tuple[str, int], ...]): Entries that must be there, under the names used
            here, with their number of dimensions: they tell the method's checkpoints from those of a
            plain classifier.
    """

    layouts: tuple[Layout, ...]
    dimensions: tuple[tuple[str, int], ...] = ()


#: Methods whose checkpoints can be converted. A new method adds one entry.
OFFICIAL_METHODS: dict[str, OfficialMethod] = {
    'ts-cam': OfficialMethod(layouts=(CONFORMER, TIMM_VIT), dimensions=(('head.semantic_conv.weight', 4),)),
    'scm': OfficialMethod(layouts=(SCM_CONFORMER, SCM_VIT), dimensions=(('head.semantic_conv.weight', 4),)),
    'lctr': OfficialMethod(layouts=(LCTR_VIT,), dimensions=(('head.cdm.weight', 5),)),
    'catr': OfficialMethod(
        layouts=(CATR_VIT,),
        dimensions=(('head.semantic_conv.weight', 4), ('head.csm.classifier.weight', 4)),
    ),
    'cdtr': OfficialMethod(
        layouts=(CDTR_VIT,),
        dimensions=(('head.semantic_conv.weight', 4), ('head.ski.weight', 4)),
    ),
    'sat': OfficialMethod(layouts=(SAT_VIT,), dimensions=(('head.semantic_conv.weight', 4),)),
}


def convert_state_dict(method: str, state_dict: Mapping, source: str = 'the checkpoint') -> dict[str, Tensor]:
    """Rename the weights of a published checkpoint.

    Args:
        method (str): A key of :data:`OFFICIAL_METHODS`.
        state_dict (Mapping): Weights under their official names, or a checkpoint around them; a prefix
            ``module.`` is taken off. The architecture is recognised by the names.
        source (str): Where they come from, for messages.

    Returns:
        dict[str, Tensor]: The same weights, to be loaded with ``strict=True``. Entries that are stored
        in numbered parts there and as one tensor here are joined.

    Raises:
        ValueError: If the method or the architecture is not known, if an entry has no counterpart
            here (all such entries are named), if an entry of the method is missing, or if numbered
            entries that are one here do not fit together.
    """
    if method not in OFFICIAL_METHODS:
        raise ValueError(f'method must be one of {sorted(OFFICIAL_METHODS)}, got {method!r}')
    official = OFFICIAL_METHODS[method]
    weights = unwrap_state_dict(state_dict, source)
    layout = find_layout(weights, official.layouts)
    if layout is None:
        raise ValueError(
            f'{source} is no checkpoint of {method}. Its first names: {describe_names(weights)}. '
            f'Accepted: {"; ".join(accepted.name for accepted in official.layouts)}'
        )
    try:
        entries = layout.entries(weights)
    except ValueError as error:
        raise ValueError(f'{source} is no whole checkpoint of {method}: {error}') from error
    unknown = [entry.name for entry in entries if entry.target is None]
    if unknown:
        raise ValueError(f'{source} has entries that {method} does not know: {", ".join(unknown)}')
    converted = {entry.target: entry.value for entry in entries}
    for name, dimensions in official.dimensions:
        found = converted[name].dim() if name in converted else 'no such entry'
        if found != dimensions:
            raise ValueError(
                f'{source} is no checkpoint of {method}: expected {dimensions} dimensions of what is '
                f'called {name} here, found {found}. To start a training from the weights of a '
                'classifier, set model.pretrained instead'
            )
    return converted
