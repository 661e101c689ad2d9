"""What a backbone hands to a localization head."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

#: What one layer shows of its attention, by the name it has in :class:`Features`, without the axis L.
LayerMaps = dict[str, Tensor]


class Features(NamedTuple):
    """Features of a backbone of any kind, on its grid of h x w patches (or pixels of its last map).

    Only the feature map is always there. A head names what it needs beyond it, and a backbone names what
    it can give: the fields below, and the entries of ``extras``.

    Attributes:
        feature_map: Last feature map, (B, D, h, w), row-major; of a transformer, the patch tokens after the
            final normalisation.
        cls_token: Class token after the final normalisation, (B, D).
        class_attention: Soft-max row of the class token over all N tokens, (B, L, H, N) for L layers and H
            heads; the patches' part is not normalised again. Never in half precision.
        stages: Earlier feature maps, (B, D_i, h_i, w_i), the first stage first.
        extras: What one method's own backbone adds. ``'full_attention'`` (B, L, H, N, N), never in half
            precision; ``'conv_map'`` (B, C, h', w'), last map of a hybrid backbone's convolutional branch;
            ``'spatial_mask'`` (B, M, N), foreground probability of every token in the M layers that
            spatial-query attention masks (SAT); ``'propagated'`` (B, L, N), the class token's row passed once
            more through the attention of its layer (LCTR); ``'images'`` (B, 3, H, W), the network's input,
            which the localizer adds, and ``'pixels'``, the same before its normalisation, RGB, 0..255;
            ``'kernel_weights'`` (B, E), how much each of E kernels counts for an image, which LCTR's head
            computes once for logits and maps; ``'pre_norm_map'`` (B, D, h, w) and ``'pre_norm_cls_token'``
            (B, D), before the final normalisation; ``'queries'``, ``'keys'`` and ``'values'`` (B, h * w, D),
            the patches' projections in the last layer; ``'pooled'`` (B, D), the output of an attention pool.
        patch_start: Index of the first patch among the N tokens: behind the class token and registers.
    """

    feature_map: Tensor
    cls_token: Tensor | None = None
    class_attention: Tensor | None = None
    stages: tuple[Tensor, ...] = ()
    extras: Mapping[str, Tensor] = MappingProxyType({})
    patch_start: int = 1

    @classmethod
    def from_tokens(
        cls,
        tokens: Tensor,
        grid: tuple[int, int],
        layer_maps: Sequence[Mapping[str, Tensor]] = (),
        patch_start: int = 1,
        **extras: Tensor,
    ) -> 'Features':
        """Arrange the tokens of a transformer.

        Args:
            tokens: Normalised tokens, (B, N, D): class token, registers, patches, and what a method adds.
            grid: Height and width of the patch grid.
            layer_maps: What each layer shows of its attention. Layers may differ: a name has an entry for
                each layer that shows it.
            patch_start: How many tokens precede the patches. The first of them is the class token; 0 means
                that there is none.
            **extras: Further entries of ``extras``.

        Returns:
            The features.
        """
        height, width = grid
        patches = tokens[:, patch_start : patch_start + height * width].transpose(1, 2)
        shown = dict.fromkeys(name for maps in layer_maps for name in maps)
        stacked = {
            name: torch.stack([maps[name] for maps in layer_maps if name in maps], dim=1) for name in shown
        }
        class_attention = stacked.pop('class_attention', None)
        return cls(
            patches.unflatten(2, (height, width)),
            tokens[:, 0] if patch_start else None,
            class_attention,
            extras={**stacked, **extras},
            patch_start=patch_start,
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the feature map."""
        return self.feature_map.shape[-2], self.feature_map.shape[-1]

    def on_grid(self, rows: Tensor) -> Tensor:
        """Return the patches' part, (..., h, w), of rows over all tokens, (..., N)."""
        height, width = self.grid
        return rows[..., self.patch_start : self.patch_start + height * width].unflatten(-1, (height, width))

    def with_extras(self, **extras: Tensor) -> 'Features':
        """Return the features with further entries of ``extras``."""
        return self._replace(extras={**self.extras, **extras})

    def require(self, name: str) -> Any:
        """Return an optional field or an entry of ``extras``: a tensor, or the tuple of ``stages``.

        Raises:
            ValueError: If the features do not carry it.
        """
        value = getattr(self, name) if name in self._fields else self.extras.get(name)
        if value is None or (name == 'stages' and not value):
            optional = {'cls_token': self.cls_token, 'class_attention': self.class_attention}
            there = [field for field, found in optional.items() if found is not None]
            there += ['stages'] if self.stages else []
            raise ValueError(
                f'features: expected {name!r}, got {[*there, *self.extras]} beside the feature map. Ask the '
                f'backbone for needs={{{name!r}}}'
            )
        return value


def features_from_cache(tensors: Mapping[str, Tensor]) -> Features:
    """Arrange cached tensors as features.

    Args:
        tensors: By name, each (B, ...). Of the class attention only the patches' part is there, on the grid,
            (B, L, H, h, w). A feature map that was not cached is NaN, on the grid of the others.

    Raises:
        ValueError: If nothing says the grid.
    """
    values = dict(tensors)
    feature_map, attention = values.pop('feature_map', None), values.pop('class_attention', None)
    if feature_map is None:
        on_grid = values.get('pre_norm_map', None if attention is None else attention[:, 0])
        if on_grid is None:
            raise ValueError(f'inputs: expected cached features with a map, got {sorted(tensors)}')
        feature_map = torch.full_like(on_grid[:1, :1], torch.nan).expand_as(on_grid)
    rows = None if attention is None else attention.flatten(-2)
    cls_token = values.pop('cls_token', None)
    return Features(feature_map, cls_token, rows, extras=values, patch_start=0)


def check_needs(needs: Collection[str], gives: Collection[str], backbone: str, asker: str = 'needs') -> None:
    """Check that a backbone can give what it is asked for.

    Args:
        needs: Names of what is asked for.
        gives: Names of what the backbone can give.
        backbone: Name of the backbone's class.
        asker: Who asks.

    Raises:
        TypeError: If ``needs`` is one string, which would be taken for names of one letter.
        ValueError: If something cannot be given.
    """
    if isinstance(needs, str):
        raise TypeError(f'needs: expected a set of names, got the string {needs!r}')
    missing = sorted(set(needs) - set(gives))
    if missing:
        raise ValueError(
            f'{asker}: expected a backbone that gives {missing}, got {backbone}, which gives {sorted(gives)}'
        )
