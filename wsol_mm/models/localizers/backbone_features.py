"""Features of a backbone of any kind, with what a localizer adds to them."""

from collections.abc import Collection, Sequence

from wsol_mm.structures import Features
from wsol_mm.structures.features import check_needs

from torch import Tensor, nn

from .foreign_backbones import foreign_features, foreign_gives
from .submodule_outputs import named_submodule, recorded_outputs

#: What can be had with any backbone: its input, normalised and as it was, and outputs of its modules.
LOCALIZER_GIVES = frozenset({'images', 'pixels', 'stages'})


def backbone_gives(backbone: nn.Module) -> frozenset[str]:
    """Return what a backbone itself can give beyond the feature map.

    Raises:
        ValueError: If it is one of mmpretrain's and set to return no map.
    """
    gives = getattr(backbone, 'gives', None)
    return foreign_gives(backbone) if gives is None else gives


def stage_modules(backbone: nn.Module, stages: Sequence[str]) -> list[nn.Module]:
    """Return the modules of a backbone whose outputs are the ``stages``.

    Raises:
        ValueError: If a name is none of a module.
    """
    return [named_submodule(backbone, name, 'stages') for name in stages]


def features_of(
    backbone: nn.Module, inputs: Tensor, needs: Collection[str], stages: Sequence[str] = ()
) -> Features:
    """Run a backbone.

    Args:
        backbone: One with ``gives``, or any of mmpretrain's that returns feature maps.
        inputs: Normalised images (B, 3, H, W).
        needs: What to return beyond the feature map.
        stages: Names of the modules whose outputs are the ``stages``, where these are needed.

    Returns:
        The features.

    Raises:
        ValueError: If the backbone does not give what is asked for.
    """
    own_needs = frozenset(needs) - LOCALIZER_GIVES
    # Looked up each time: a copy of the model must not read the original's modules.
    with recorded_outputs(stage_modules(backbone, stages) if 'stages' in needs else []) as outputs:
        if hasattr(backbone, 'gives'):
            feats = backbone(inputs, own_needs)
        else:
            check_needs(own_needs, backbone_gives(backbone), type(backbone).__name__)
            feats = foreign_features(backbone, inputs)
    if outputs:
        feats = feats._replace(stages=tuple(outputs))
    return feats.with_extras(images=inputs) if 'images' in needs else feats
