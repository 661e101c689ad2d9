"""Maps from the attention of a transformer's class token, without training."""

from typing import Any

from wsol_mm.models.layers import class_token_attention, rollout_map
from wsol_mm.models.utils.precision import at_least_float32
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

from torch import Tensor

from .cam_method import CAMMethod
from .gradient_cams import CAM

_LAYERS = ('last', 'sum', 'rollout')


def _checked(layers: str) -> str:
    if layers not in _LAYERS:
        raise ValueError(f'cam.layers: expected one of {_LAYERS}, got {layers!r}')
    return layers


def _attention_needs(layers: str) -> frozenset[str]:
    return frozenset({'full_attention' if layers == 'rollout' else 'class_attention'})


def _attention(feats: Features, layers: str) -> Tensor:
    """Return the attention of the class token to the patches, mean of the heads, (B, h, w)."""
    if layers == 'rollout':
        return at_least_float32(rollout_map(feats))
    rows = at_least_float32(class_token_attention(feats))
    return rows[:, -1] if layers == 'last' else rows.sum(dim=1)


@MODELS.register_module()
class ClassAttention(CAMMethod):
    """Attention of the class token to the patches, mean of the heads: one map for all classes.

    Args:
        layers: ``'last'``: of the last layer; ``'sum'`` over all layers; ``'rollout'``: traced through all of
            them (Abnar and Zuidema, ACL 2020), which needs N x N attention.
        **kwargs: Of :class:`CAMMethod`.

    Raises:
        ValueError: If ``layers`` is none of these.
    """

    class_agnostic = True

    def __init__(self, *args: Any, layers: str = 'last', **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.layers = _checked(layers)

    @property
    def map_needs(self) -> frozenset[str]:  # type: ignore[override]
        """The attention."""
        return _attention_needs(self.layers)

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the attention, (B, 1, h, w)."""
        return _attention(feats, self.layers)[:, None]


@MODELS.register_module()
class CoupledAttention(CAM):
    """Attention of the class token times the class's CAM on the patches, as TS-CAM couples them (ICCV 2021).

    Args:
        layers: See :class:`ClassAttention`; TS-CAM's is the sum.
        **kwargs: Of :class:`CAMMethod`.

    Raises:
        ValueError: If ``layers`` is none of these.
    """

    def __init__(self, *args: Any, layers: str = 'sum', **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.layers = _checked(layers)

    @property
    def map_needs(self) -> frozenset[str]:  # type: ignore[override]
        """The attention, and what CAM needs."""
        return CAM.map_needs | _attention_needs(self.layers)

    def attention_map(self, feats: Features) -> Tensor:
        """Return the attention factor, (B, h, w)."""
        return _attention(feats, self.layers)

    def semantic_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the class activation maps, (B, K, h, w)."""
        return super().localization_maps(feats, labels)

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return attention times class activation map, (B, K, h, w)."""
        return self.attention_map(feats)[:, None] * self.semantic_maps(feats, labels)
