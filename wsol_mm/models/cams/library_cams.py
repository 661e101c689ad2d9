"""The methods of the package ``grad-cam``, on the features and gradients that are computed here.

Its classes get arrays: the layer's output and the gradients, of one forward and one backward pass for all
classes of a batch. Of the classifier itself they touch nothing. The maps are the package's own before it
normalises and enlarges them: rectified, on the grid of the layer.
"""

from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from types import ModuleType
from typing import Any

from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import numpy as np
import torch
from torch import Tensor, nn

from .cam_method import CAMMethod, map_gradients


def require_grad_cam(method: str) -> ModuleType:
    """Import the package ``grad-cam``.

    Args:
        method: What needs it, for the message.

    Raises:
        ImportError: If it is not installed.
    """
    if find_spec('pytorch_grad_cam') is None:
        raise ImportError(
            f'cam.type: expected the package grad-cam, which {method} is computed with, got none: '
            'pip install grad-cam'
        )
    return import_module('pytorch_grad_cam')


class LibraryCAM(CAMMethod):
    """Base of the methods that need the layer's output, and the gradients unless the map is class-agnostic.

    Args:
        options: Further arguments of the package's class.
        **kwargs: Of :class:`CAMMethod`.

    Raises:
        ImportError: If the package is not installed.
    """

    #: Name of the class in the package.
    library_name: str
    before_attention = True
    exportable = False

    def __init__(self, *args: Any, options: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.options = dict(options or {})
        library = require_grad_cam(type(self).__name__)
        self._library_class: Callable[..., Any] = getattr(library, self.library_name)

    @property
    def map_needs(self) -> frozenset[str]:  # type: ignore[override]
        """The gradients, unless one map serves all classes."""
        return frozenset() if self.class_agnostic else frozenset({'map_gradient'})

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the maps of the package, (B, K, h, w)."""
        # Its constructor wants a network to hook; there is nothing in this one.
        method = self._library_class(nn.Linear(1, 1), [], **self.options)
        activations = _array(feats.feature_map)
        if self.class_agnostic:
            maps = method.get_cam_image(None, None, None, activations, None, False)
            return _rectified(maps[:, None], feats)
        gradients = _array(map_gradients(feats, labels))
        maps = [method.get_cam_image(None, None, None, activations, one, False) for one in gradients]
        return _rectified(np.stack(maps, axis=1), feats)


class RerunningCAM(LibraryCAM):
    """Base of the methods that run the classifier once or more for every channel of the layer.

    Args:
        batch_size: Images in one run.
        options: Further arguments of the package's class.
        **kwargs: Of :class:`CAMMethod`.
    """

    reruns = True
    map_needs = frozenset({'images'})

    def __init__(self, *args: Any, batch_size: int = 32, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if batch_size < 1:
            raise ValueError(f'cam.batch_size: expected an integer from 1, got {batch_size}')
        self.batch_size = batch_size

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the maps of the package, (B, K, h, w)."""
        if not self._attached:
            raise ValueError(
                f'cam: expected a call of ClassifierLocalizer.predict, got one of {type(self).__name__} '
                'alone, which has no classifier to run'
            )
        network = _Rerun(self._attached[0])
        method = self._library_class(network, [network.layer], **self.options)
        method.activations_and_grads.release()
        method.batch_size = self.batch_size
        images, activations = feats.require('images'), _array(feats.feature_map)
        maps = []
        with torch.no_grad(), redirect_stderr(StringIO()):  # of progress bars
            for column in labels.T.tolist():
                network.position = 0
                targets = [_Score(label) for label in column]
                layer = network.layer
                maps.append(method.get_cam_image(images, layer, targets, activations, None, False))
        return _rectified(np.stack(maps, axis=1), feats)


class _Rerun(nn.Module):
    """The classifier as the package sees it: ``layer``, which it may replace, follows the watched layer.

    The package runs the same images for every class; the logits are kept from the first time.
    """

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.layer = nn.Identity()
        self._classifier = [classifier]
        self._anchor = nn.Parameter(next(classifier.parameters()).detach()[:0], requires_grad=False)
        self._logits: list[Tensor] = []
        self.position = 0

    def forward(self, images: Tensor) -> Tensor:
        if self.position == len(self._logits):
            (classifier,) = self._classifier
            with classifier.changed_map(
                lambda feature_map: self.layer(feature_map), tuple(images.shape[-2:])
            ):
                self._logits.append(classifier.logits(images).float())
        self.position += 1
        return self._logits[self.position - 1]


class _Score:
    """Picks the logit of a class, as the package's targets do."""

    def __init__(self, label: int) -> None:
        self.label = label

    def __call__(self, logits: Tensor) -> Tensor:
        return logits[self.label]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def _rectified(maps: np.ndarray, feats: Features) -> Tensor:
    return torch.from_numpy(np.float32(maps)).relu().to(feats.feature_map.device)


@MODELS.register_module()
class GradCAMPlusPlus(LibraryCAM):
    """Grad-CAM++ (Chattopadhay et al., WACV 2018)."""

    library_name = 'GradCAMPlusPlus'


@MODELS.register_module()
class HiResCAM(LibraryCAM):
    """HiResCAM (Draelos and Carin, 2020): gradient times map at every position."""

    library_name = 'HiResCAM'


@MODELS.register_module()
class GradCAMElementWise(LibraryCAM):
    """Gradient times map at every position, each product rectified before the sum."""

    library_name = 'GradCAMElementWise'


@MODELS.register_module()
class XGradCAM(LibraryCAM):
    """XGrad-CAM (Fu et al., BMVC 2020): gradients weighted by normalised activations."""

    library_name = 'XGradCAM'


@MODELS.register_module()
class EigenGradCAM(LibraryCAM):
    """First principal component of gradient times map; its sign is that of the decomposition."""

    library_name = 'EigenGradCAM'


@MODELS.register_module()
class SegEigenCAM(LibraryCAM):
    """Seg-Eigen-CAM (Chung and Ying, 2025): first component of |gradient| times map, sign corrected."""

    library_name = 'SegEigenCAM'


@MODELS.register_module()
class EigenCAM(LibraryCAM):
    """Eigen-CAM (Muhammad and Yeasin, IJCNN 2020): first principal component of the map, for all classes.

    Its sign is that of the decomposition.
    """

    library_name = 'EigenCAM'
    class_agnostic = True


@MODELS.register_module()
class KPCACAM(LibraryCAM):
    """KPCA-CAM (Karmani et al., 2024): first component of a kernel PCA of the map, for all classes."""

    library_name = 'KPCA_CAM'
    class_agnostic = True


@MODELS.register_module()
class FEM(LibraryCAM):
    """Feature Explanation Method (Fuad et al., IPTA 2020): channels by how rare they are; for all classes."""

    library_name = 'FEM'
    class_agnostic = True


@MODELS.register_module()
class ScoreCAM(RerunningCAM):
    """Score-CAM (Wang et al., CVPRW 2020): channels weighted by the score of the image that they mask."""

    library_name = 'ScoreCAM'


@MODELS.register_module()
class AblationCAM(RerunningCAM):
    """Ablation-CAM (Desai and Ramaswamy, WACV 2020): channels weighted by the score's fall without them.

    Of a transformer, a channel is taken from the patches and stays in the class token. Where activations are
    negative, the package puts a very low value in place of a channel, not zero.
    """

    library_name = 'AblationCAM'
