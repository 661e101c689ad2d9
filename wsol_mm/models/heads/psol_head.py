"""Head of PSOL: one box by regression, taught by boxes of another model (Zhang, Cao and Wu, CVPR 2020)."""

from collections.abc import Sequence
from typing import Any

from wsol_mm.models.layers.box_masks import box_masks
from wsol_mm.models.utils.precision import at_least_float32
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torchvision.ops import box_convert, box_iou

from .probe_head import ProbeHead

# Of the distance of corners beside the generalised IoU, which alone is slow to move boxes.
_L1_WEIGHT = 5.0
# What the regression sees: so many channels at 7 x 7 places, whatever the grid of the backbone.
_PLACE_CHANNELS, _PLACES = 32, 7
_EPS = 1e-7  # of areas, which may be 0


@MODELS.register_module()
class PSOLHead(ProbeHead):
    """Localization as regression of one box, for all classes alike, beside a linear classifier.

    The box comes from the patch tokens, at 7 x 7 places with 32 channels each, by two linear layers; the
    class token is left to the classifier. (The paper takes the mean over all places of a feature map.) Boxes
    to learn come with the samples: ``LoadPseudoBox`` reads them. The localization map is the box, drawn with
    1 inside and 0 outside (:func:`~wsol_mm.models.layers.box_masks.box_masks`): all thresholds of all
    protocols give the same box, exact to half a pixel of the map.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels D of the feature map.
        hidden_channels: Width of the layer between tokens and box.
        box_loss_weight: Weight of the loss of the boxes beside that of the classes.
        map_size: Side of the maps in pixels; 224 is the frame in which ``maxboxacc`` and others measure.
        **kwargs: Further arguments of :class:`ProbeHead`.

    Raises:
        ValueError: If an argument is not as said.
    """

    unit_maps = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_channels: int = 512,
        box_loss_weight: float = 1.0,
        map_size: int = 224,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        for name, value, lowest in (('hidden_channels', hidden_channels, 1), ('map_size', map_size, 2)):
            if not (isinstance(value, int) and value >= lowest):
                raise ValueError(f'{name}: expected an integer from {lowest}, got {value!r}')
        if not box_loss_weight > 0:
            raise ValueError(f'box_loss_weight: expected a positive number, got {box_loss_weight!r}')
        self.box_loss_weight, self.map_size = box_loss_weight, map_size
        self.regressor = nn.Sequential(
            nn.Conv2d(in_channels, _PLACE_CHANNELS, 1),
            nn.AdaptiveAvgPool2d(_PLACES),
            nn.Flatten(),
            nn.Linear(_PLACE_CHANNELS * _PLACES**2, hidden_channels),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_channels, 4),
        )
        # All boxes begin in the middle of the image: at its ends a sigmoid learns nothing.
        nn.init.zeros_(self.regressor[-1].weight)
        nn.init.zeros_(self.regressor[-1].bias)

    @property
    def loss_needs(self) -> frozenset[str]:
        """What is classified, and the tokens of the box."""
        return self.predict_needs

    @property
    def predict_needs(self) -> frozenset[str]:
        """What is classified, and the tokens of the box."""
        return self.logits_needs | self._map_needs

    def boxes(self, feats: Features) -> Tensor:
        """Return the boxes (B, 4), x0 y0 x1 y1 as shares of the image, in float32 or better.

        The network makes centre, width and height, by a sigmoid; sides may be outside of the image, where
        they still learn to come back.
        """
        numbers = self.regressor(self.patch_features(feats))
        return box_convert(at_least_float32(numbers).sigmoid(), 'cxcywh', 'xyxy')

    def loss(self, feats: Features, data_samples: Sequence[DataSample], **kwargs: Any) -> dict[str, Tensor]:
        """Return the losses of a batch.

        Args:
            feats: With what ``loss_needs`` names.
            data_samples: With ``gt_label``, ``pseudo_box`` (4), x0 y0 x1 y1 as shares of the image, and
                ``pseudo_box_weight`` (1), 0 where there is no box to learn.
            **kwargs: Passed to the classification loss.

        Returns:
            ``loss_cls`` and ``loss_box``, one minus the generalised IoU and five times the mean distance of
            the corners as shares of the image, the mean over the boxes by their weights; ``pseudo_iou``, the
            mean IoU with them, for the log.

        Raises:
            ValueError: If the samples have no pseudo boxes.
        """
        if 'pseudo_box' not in data_samples[0]:
            raise ValueError(
                "data sample: expected 'pseudo_box', as PSOLHead learns it, got "
                f'{sorted(data_samples[0].all_keys())}. LoadPseudoBox in the training pipeline gives it'
            )
        losses = super().loss(feats, data_samples, **kwargs)
        # The log calls the sum `loss`.
        losses['loss_cls'] = losses.pop('loss')
        boxes = self.boxes(feats)
        targets, weights = (
            values.to(boxes.device, boxes.dtype, non_blocking=True)
            for values in (
                torch.stack([sample.pseudo_box for sample in data_samples]),
                torch.cat([sample.pseudo_box_weight for sample in data_samples]),
            )
        )
        each = 1 - generalized_iou(boxes, targets) + _L1_WEIGHT * (boxes - targets).abs().mean(dim=1)
        total = weights.sum().clamp(min=torch.finfo(boxes.dtype).eps)  # a batch may be without a box
        with torch.no_grad():
            overlap = box_iou(boxes.clamp(0, 1), targets).diagonal()
        return losses | {
            'loss_box': self.box_loss_weight * (weights * each).sum() / total,
            'pseudo_iou': (weights * overlap).sum() / total,
        }

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the boxes as maps, (B, 1, side, side); ``labels`` are not used."""
        return box_masks(self.boxes(feats).clamp(0, 1), self.map_size)[:, None]


def generalized_iou(boxes: Tensor, targets: Tensor) -> Tensor:
    """Return the generalised IoU of boxes and targets in pairs (Rezatofighi et al., CVPR 2019).

    As in ``torchvision.ops.generalized_box_iou_loss``, whose choice of the boxes that overlap waits for the
    device in every step.

    Args:
        boxes: (N, 4), x0 y0 x1 y1.
        targets: (N, 4).

    Returns:
        (N,), from -1 to 1.
    """
    common = _areas(torch.maximum(boxes[:, :2], targets[:, :2]), torch.minimum(boxes[:, 2:], targets[:, 2:]))
    around = _areas(torch.minimum(boxes[:, :2], targets[:, :2]), torch.maximum(boxes[:, 2:], targets[:, 2:]))
    union = _areas(boxes[:, :2], boxes[:, 2:]) + _areas(targets[:, :2], targets[:, 2:]) - common
    return common / (union + _EPS) - (around - union) / (around + _EPS)


def _areas(starts: Tensor, ends: Tensor) -> Tensor:
    width, height = (ends - starts).clamp(min=0).unbind(dim=1)
    return width * height
