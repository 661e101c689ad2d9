"""CAM, Grad-CAM and LayerCAM, for all images and classes of a batch at once, on its device."""

from wsol_mm.models.utils.precision import at_least_float32, autocast_off
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

from torch import Tensor, einsum

from .cam_method import CAMMethod, map_gradients


@MODELS.register_module()
class CAM(CAMMethod):
    """Class Activation Mapping (Zhou et al., CVPR 2016): the classifier's weights on every position.

    For classifiers whose logits are linear in the mean of the map, in that mean after a layer normalisation
    (whose statistics are then kept), or in the class token beside the map. No ReLU, as in the paper.
    """

    map_needs = frozenset({'class_weights'})

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the sums over the channels of weight times map, (B, K, h, w)."""
        with autocast_off(feats.feature_map):
            feature_map = at_least_float32(feats.feature_map)
            weights = feats.require('class_weights').to(feature_map.dtype)[labels]
            return einsum('bkd,bdhw->bkhw', weights, feature_map)


@MODELS.register_module()
class GradCAM(CAMMethod):
    """Grad-CAM (Selvaraju et al., ICCV 2017): channels weighted by the mean of their gradient; ReLU."""

    before_attention = True
    exportable = False
    map_needs = frozenset({'map_gradient'})

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the rectified sums over the channels of mean gradient times map, (B, K, h, w)."""
        with autocast_off(feats.feature_map):
            feature_map = at_least_float32(feats.feature_map).detach()
            weights = at_least_float32(map_gradients(feats, labels)).mean(dim=(3, 4))
            return einsum('kbd,bdhw->bkhw', weights.to(feature_map.dtype), feature_map).relu()


@MODELS.register_module()
class LayerCAM(CAMMethod):
    """LayerCAM (Jiang et al., TIP 2021): every position weighted by its own positive gradient; ReLU."""

    before_attention = True
    exportable = False
    map_needs = frozenset({'map_gradient'})

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the rectified sums over the channels of positive gradient times map, (B, K, h, w)."""
        with autocast_off(feats.feature_map):
            feature_map = at_least_float32(feats.feature_map).detach()
            gradients = at_least_float32(map_gradients(feats, labels)).relu().to(feature_map.dtype)
            return einsum('kbdhw,bdhw->bkhw', gradients, feature_map).relu()
