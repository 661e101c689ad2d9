"""Objects cut out of the graph of similar patches, without training: TokenCut, LOST, MaskCut."""

from typing import Any

from wsol_mm.models.layers import lost, maskcut, normalized_cut, tokencut
from wsol_mm.models.layers.graph_cut import ObjectMasks
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

from torch import Tensor

from .probe_head import ProbeHead

#: Ways to read the object from the graph, and features of the patches that make it.
MODES = ('tokencut', 'lost', 'maskcut')
FEATURES = ('keys', 'queries', 'values', 'tokens')


@MODELS.register_module()
class GraphCutHead(ProbeHead):
    """One map for all classes from the similarity of the patches; classes by a linear probe.

    Nothing but the probe is trained. What works depends on the backbone: keys of DINO with a threshold of 0.2
    are the published choice; on supervised features the cuts mean little.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels D of the feature map.
        mode: ``'tokencut'`` (normalised cut), ``'lost'`` (no eigenvector: the fastest) or ``'maskcut'``
            (several objects, one after the other).
        features: ``'keys'``, ``'queries'`` or ``'values'`` of the last layer, or its output ``'tokens'``
            (after the final normalisation).
        threshold: Cosine from which patches are joined; not of LOST.
        weighted: The edges of TokenCut's graph are as heavy as the cosines, instead of equal.
        num_objects: Number of objects that MaskCut looks for.
        as_mask: The map is the object's mask, whose box is the published one, instead of the eigenvector (or
            LOST's sums). MaskCut has masks alone.
        all_objects: A map for each object that MaskCut looks for, constant where it finds none, instead of
            the first one's: predictions have a box for each, evaluation takes the first.
        **kwargs: Further arguments of :class:`ProbeHead`.

    Raises:
        ValueError: If ``mode`` or ``features`` has another value, or ``weighted`` or ``all_objects`` is asked
            of a mode without it.
    """

    #: Connected parts are found by OpenCV, on the CPU.
    exportable = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        mode: str = 'tokencut',
        features: str = 'keys',
        threshold: float = 0.2,
        weighted: bool = False,
        num_objects: int = 3,
        as_mask: bool = False,
        all_objects: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        if mode not in MODES:
            raise ValueError(f'mode: expected one of {MODES}, got {mode!r}')
        if features not in FEATURES:
            raise ValueError(f'features: expected one of {FEATURES}, got {features!r}')
        if weighted and mode != 'tokencut':
            raise ValueError(f"weighted: expected False but for the mode 'tokencut', got True for {mode!r}")
        if all_objects and mode != 'maskcut':
            raise ValueError(f"all_objects: expected False but for the mode 'maskcut', got True for {mode!r}")
        self.all_objects = self.several_objects = all_objects
        self.mode, self.features, self.threshold, self.weighted = mode, features, threshold, weighted
        self.num_objects, self.as_mask = num_objects, as_mask
        self.needs_feature_map = True

    @property
    def predict_needs(self) -> frozenset[str]:
        """What is classified, and what makes the graph."""
        return self.logits_needs | (frozenset() if self.features == 'tokens' else {self.features})

    def graph_features(self, feats: Features) -> Tensor:
        """Return the features that make the graph, (B, h * w, D)."""
        if self.features == 'tokens':
            return feats.feature_map.flatten(2).transpose(1, 2)
        return feats.require(self.features)

    def _object(self, feats: Features) -> ObjectMasks:
        """Return the one object of TokenCut or LOST.

        What the graph does not determine is no object: its map is constant, which the evaluation counts and
        reports.
        """
        features = self.graph_features(feats)
        if self.mode == 'lost':
            return lost(features, feats.grid)
        cut = normalized_cut(features, self.threshold, self.weighted)
        found, nothing = tokencut(cut, feats.grid), cut.degenerate[:, None, None]
        return found._replace(masks=found.masks & ~nothing, values=found.values.masked_fill(nothing, 0))

    def object_masks(self, feats: Features) -> Tensor:
        """Return masks of all objects, (B, K, h, w), bool; K is 1 but for MaskCut."""
        if self.mode == 'maskcut':
            return maskcut(self.graph_features(feats), feats.grid, self.threshold, self.num_objects)[0]
        return self._object(feats).masks[:, None]

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the map, (B, 1, h, w), or those of all objects, (B, K, h, w); ``labels`` are not used."""
        if self.as_mask or self.mode == 'maskcut':
            return self.object_masks(feats)[:, : None if self.all_objects else 1].float()
        return self._object(feats).values[:, None].float()
