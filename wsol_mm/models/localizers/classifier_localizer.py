"""Any trained classifier with any class activation map: a localizer that needs no training."""

from collections.abc import Sequence
from typing import Any, NoReturn

from wsol_mm.models.cams import CAMMethod
from wsol_mm.models.classifiers import TrainedClassifier
from wsol_mm.registry import MODELS

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from .image_localizer import ImageLocalizer


@MODELS.register_module()
class ClassifierLocalizer(ImageLocalizer):
    """Localizes with a trained classifier as it is, and returns what every localizer returns.

    The classifier is the backbone, whose features are the output of one layer; the method is the head.
    Mean, standard deviation and order of the colours are those of the classifier.

    Args:
        classifier: A :class:`TrainedClassifier`, such as ``dict(type='TimmClassifier',
            model_name='resnet50.a1_in1k', pretrained=True)``.
        cam: A :class:`CAMMethod` without ``num_classes`` and ``in_channels``, such as
            ``dict(type='GradCAM')``. ``target_layer`` names the module of the network whose output is used;
            by default the last one that returns a map or, for methods with gradients on transformers, the
            first normalisation of the last block. The choice is logged.
        data_preprocessor: As of :class:`ImageLocalizer`.
        pretrained: None: the weights are the classifier's own.
        init_cfg: Initialisation config.
        refinement: As of :class:`ImageLocalizer`.

    Raises:
        TypeError: If the classifier or the method is of another type.
        ValueError: If the layer does not exist or gives no map, the classes do not depend on it, or the
            classifier has not what the method needs.
    """

    #: The weights are there when it is built: it needs no checkpoint.
    trained = True

    def __init__(
        self,
        classifier: dict | nn.Module,
        cam: dict,
        data_preprocessor: dict | None = None,
        pretrained: None = None,
        init_cfg: dict | None = None,
        refinement: dict | None = None,
    ) -> None:
        backbone = classifier if isinstance(classifier, nn.Module) else MODELS.build(classifier)
        if not isinstance(backbone, TrainedClassifier):
            raise TypeError(f'expected a TrainedClassifier for classifier, got {type(backbone).__name__}')
        if pretrained is not None:
            raise ValueError(
                f"pretrained: expected None, as the weights are the classifier's, got {pretrained!r}"
            )
        settings = dict(cam)
        layer = settings.pop('target_layer', None)
        method = MODELS.get(str(settings.get('type')))
        if method is None or not issubclass(method, CAMMethod):
            raise TypeError(f'expected a CAMMethod for cam.type, got {settings.get("type")!r}')
        num_classes, channels = backbone.watch(layer, method.before_attention)
        head = MODELS.build({**settings, 'num_classes': num_classes, 'in_channels': channels})
        if 'class_weights' in head.predict_needs - backbone.gives:
            raise ValueError(
                f'cam: expected a classifier whose logits are linear in the mean over the map of its layer '
                f'{backbone.layer!r} or in its class token, as {settings["type"]} needs it, got '
                f'{backbone.kind}. GradCAM and LayerCAM work with any'
            )
        colours = dict(to_rgb=backbone.data_config['to_rgb'])
        if data_preprocessor is None or isinstance(data_preprocessor, dict):
            data_preprocessor = {**colours, **(data_preprocessor or {})}
        super().__init__(
            backbone, head, data_preprocessor=data_preprocessor, init_cfg=init_cfg, refinement=refinement
        )
        if 'map_gradient' in head.predict_needs:
            self._check_dependence()

    def _check_dependence(self) -> None:
        """Stop where gradients never reach the map: patches behind the last attention of a transformer."""
        backbone = self.backbone
        image = torch.ones(1, 3, *backbone.data_config['input_size'], device=next(self.parameters()).device)
        feats = self.extract_feat(image, {'map_gradient'})
        gradient = torch.autograd.grad(feats.require('logits').sum(), feats.feature_map, allow_unused=True)[0]
        if gradient is None or not gradient.any():
            raise ValueError(
                f'cam.target_layer: expected a layer that the logits of {backbone.kind} depend on, got '
                f'{backbone.layer!r}, with respect to whose map their gradient is zero: no attention follows '
                'it, or the weights of the classifier are zero'
            )

    def init_weights(self) -> None:
        """Leave the weights as they are."""
        self._is_init = True

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> NoReturn:
        """Refuse to be trained.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f'model.type: expected a model to train, got {type(self).__name__}, which needs no training: '
            'test it with tools/test.py'
        )

    def predict(
        self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None, **kwargs: Any
    ) -> list[DataSample]:
        """Return data samples with scores and localization maps; see :meth:`ImageLocalizer.predict`."""
        with self.head.attached(self.backbone):
            return super().predict(inputs, data_samples, **kwargs)
