"""Base of all localization heads: one loss, one way to predict, one place for the maps."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from wsol_mm.models.utils.precision import at_least_float32
from wsol_mm.models.weights.official import OfficialCheckpoints
from wsol_mm.structures import Features

import torch
from mmpretrain.evaluation import Accuracy
from mmpretrain.models.heads import ClsHead
from mmpretrain.structures import DataSample
from torch import Tensor

#: How many of the best classes are kept in ``pred_topk``.
PRED_TOPK = 5


def mean_scores(logits: Tensor) -> Tensor:
    """Return the mean over several crops of their soft-max scores, as for ten-crop classification.

    Args:
        logits: Logits of T crops of B images, (B, T, C).

    Returns:
        (B, C), in float32 or better.
    """
    return at_least_float32(logits).softmax(dim=2).mean(dim=1)


class LocalizationHead(ClsHead):
    """Turn :class:`Features` into class scores and localization maps.

    A method writes :meth:`forward` (logits) and :meth:`localization_maps`, and says with ``loss_needs``,
    ``logits_needs`` and ``predict_needs`` what it needs of the backbone beyond the feature map.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels D of the feature map.
        map_topk: Maps are predicted for this many best classes (at most C), beside the ground-truth class
            where it is known.
        loss: Classification loss; cross-entropy if None.
        cal_acc: Whether :meth:`loss` also reports the accuracy of the batch (default).
        topk: Of that accuracy.
        init_cfg: Initialisation config.

    Raises:
        ValueError: If ``num_classes`` is not positive or ``map_topk`` is negative.
    """

    #: Whether one map serves all classes; its label is then -1.
    class_agnostic: bool = False
    #: Whether a class-agnostic head gives a map for each of several objects.
    several_objects: bool = False
    #: Whether a training may start with the bias of a plain classifier, where its shape fits.
    inherits_classifier: bool = True
    #: Whether its maps are probabilities: in 0..1, with the same meaning in every view of an image.
    unit_maps: bool = False
    #: Whether tensors alone decide its maps, so that it can be exported; not if they need gradients.
    exportable: bool = True
    #: Whether the feature map itself is used, beside what the ``*_needs`` name.
    needs_feature_map: bool = True
    #: How the authors' checkpoints of the method are named, if there are any.
    official: OfficialCheckpoints | None = None

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        map_topk: int = 5,
        loss: dict | None = None,
        cal_acc: bool = True,
        topk: tuple[int, ...] = (1,),
        init_cfg: dict | None = None,
    ) -> None:
        loss = dict(type='CrossEntropyLoss', loss_weight=1.0) if loss is None else loss
        super().__init__(loss=loss, topk=topk, cal_acc=cal_acc, init_cfg=init_cfg)
        if num_classes < 1:
            raise ValueError(f'num_classes: expected an integer from 1, got {num_classes}')
        if map_topk < 0:
            raise ValueError(f'map_topk: expected an integer from 0, got {map_topk}')
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.map_topk = map_topk

    @property
    def loss_needs(self) -> frozenset[str]:
        """What training asks of the backbone: names of :class:`Features` and of its ``extras``."""
        return frozenset()

    @property
    def logits_needs(self) -> frozenset[str]:
        """What :meth:`forward` needs, the logits at test time."""
        return frozenset()

    @property
    def predict_needs(self) -> frozenset[str]:
        """What :meth:`predict` needs, logits and maps."""
        return frozenset()

    @abstractmethod
    def forward(self, feats: Features) -> Tensor:
        """Return the logits, (B, C)."""

    @abstractmethod
    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return localization maps on the patch grid, un-normalised, in float32 or better.

        Args:
            feats: With what ``predict_needs`` names.
            labels: Wanted class indices per image, (B, K), int64. A class-agnostic head ignores them.

        Returns:
            (B, K, h, w); (B, 1, h, w) of a class-agnostic head.
        """

    def pretrained_target(self, name: str) -> str:
        """Return where a pretrained weight goes that has this name in the whole model."""
        return name

    def fit_pretrained(self, weights: dict[str, Tensor]) -> list[str]:
        """Adapt pretrained weights to this head, where a method has more to it than renaming.

        Args:
            weights: All weights of a file, under the names of the whole model (``head.semantic_conv.weight``)
                or, where no layout knows them, of the file; changed in place.

        Returns:
            Parts of filled entries that keep their initial values, for the log.
        """
        return []

    def prepare(self, feats: Features) -> Features:
        """Return the features with what logits and maps both need: :meth:`predict` computes it once."""
        return feats

    def attention_map(self, feats: Features) -> Tensor | None:
        """Return the method's class-agnostic attention map, (B, h, w), or None if it has none."""
        return None

    def semantic_maps(self, feats: Features, labels: Tensor) -> Tensor | None:
        """Return the factor of the localization maps that depends on the class, (B, K, h, w).

        Args:
            feats: As for :meth:`localization_maps`.
            labels: Wanted class indices per image, (B, K), int64.

        Returns:
            None if the method's maps have no such factor.
        """
        return None

    def _get_loss(
        self, cls_score: Tensor, data_samples: Sequence[DataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Return the classification loss and, with ``cal_acc``, the accuracy.

        The loss takes the soft labels (``gt_score``) of batch augmentations, where there are any; the
        accuracy always refers to ``gt_label``, the class of the image before it was mixed.
        """
        soft = 'gt_score' in data_samples[0]
        labels = torch.cat([sample.gt_label for sample in data_samples])
        target = torch.stack([sample.gt_score for sample in data_samples]) if soft else labels
        losses = {'loss': self.loss_module(cls_score, target, avg_factor=len(cls_score), **kwargs)}
        if self.cal_acc:
            accuracies = Accuracy.calculate(cls_score, labels, topk=self.topk)
            losses |= {f'accuracy_top-{k}': value for k, value in zip(self.topk, accuracies, strict=True)}
        return losses

    def predict(
        self,
        feats: Features,
        data_samples: Sequence[DataSample | None] | None = None,
        other_crops: Tensor | None = None,
        other_views: Sequence[Features] = (),
        fuse: Callable[[list[Tensor]], Tensor] | None = None,
    ) -> list[DataSample]:
        """Predict classes and localization maps.

        Args:
            feats: With what ``predict_needs`` names.
            data_samples: One per image; new ones if None.
            other_crops: Logits (B, T, C) of further crops of the images. Classes are then ranked by the mean
                soft-max over ``feats`` and these; maps are those of ``feats`` alone.
            other_views: Further views of the images, which also count for the classes, and have maps of
                their own.
            fuse: What makes one map of those of ``feats`` and ``other_views``, each (B, K, h, w).

        Returns:
            The samples, with these fields on the CPU, copied once per batch:

            - ``pred_score`` (C): soft-max scores, with ``other_crops`` their mean.
            - ``pred_label`` (1): the class of the largest logit or mean score.
            - ``pred_topk`` (min(5, C)): classes by falling logit or mean score.
            - ``loc_maps`` (K, h, w): float32, un-normalised.
            - ``loc_labels`` (K): classes of the maps: the ground-truth class first where it is known,
                then the ``map_topk`` best classes; of a class-agnostic head -1, K times.
            - ``attn_map`` (h, w): float32, if the method has such a map and there is one view.
        """
        feats, *others = [self.prepare(view) for view in (feats, *other_views)]
        logits = self(feats)
        if others:
            other_crops = torch.stack([self(view) for view in others], dim=1)
        batch = logits.shape[0]
        given = [None] * batch if data_samples is None else data_samples
        samples = [DataSample() if sample is None else sample for sample in given]
        if other_crops is None:
            ranked, scores = logits, logits.float().softmax(dim=1)
        else:
            ranked = scores = mean_scores(torch.cat((logits[:, None], other_crops), dim=1))
        best = ranked.topk(min(max(PRED_TOPK, self.map_topk), self.num_classes), dim=1).indices
        has_truth, labels = self._wanted_labels(best[:, : self.map_topk], samples)
        maps = self.localization_maps(feats, labels).float()
        if fuse is not None:
            maps = fuse([maps, *(self.localization_maps(view, labels).float() for view in others)])
        maps = maps.cpu()
        if self.class_agnostic:
            labels = labels.expand(-1, maps.shape[1])
        # That of the first view would stand beside the maps of all.
        attention = None if others else self.attention_map(feats)
        if attention is not None:
            attention = attention.float().cpu()
        # Evaluation and pictures work on the CPU: copying here saves them some small copies per image. A GPU
        # waits for this loop.
        scores, best, labels = scores.cpu(), best.cpu(), labels.cpu()
        columns = scores.unbind(), best[:, :1].unbind(), best[:, :PRED_TOPK].unbind()
        shown = [(maps[:, first:].unbind(), labels[:, first:].unbind()) for first in (0, 1)]
        for i, (sample, score, label, ranked) in enumerate(zip(samples, *columns, strict=True)):
            sample.set_pred_score(score)
            sample.pred_label, sample.pred_topk = label, ranked
            of_maps, of_labels = shown[not (has_truth[i] or self.class_agnostic)]
            sample.loc_maps, sample.loc_labels = of_maps[i], of_labels[i]
            if attention is not None:
                sample.attn_map = attention[i]
        return samples

    def _wanted_labels(self, best: Tensor, data_samples: Sequence[DataSample]) -> tuple[list[bool], Tensor]:
        """Return which samples know their class, and the labels (B, 1 + k), that class first.

        Where the class is unknown the first entry is a placeholder that :meth:`predict` drops.
        """
        if self.class_agnostic:
            return [False] * len(data_samples), best.new_full((len(data_samples), 1), -1)
        truths = [sample.get('gt_label') for sample in data_samples]
        for truth in truths:
            if truth is not None and truth.numel() != 1:
                raise ValueError(f'gt_label: expected one class index, got {truth.tolist()}')
        # On the CPU, where labels are at test time: nothing waits for the device.
        values = [0 if truth is None else int(truth) for truth in truths]
        wrong = [value for value in values if not 0 <= value < self.num_classes]
        if wrong:
            raise ValueError(f'gt_label: expected 0 to {self.num_classes - 1}, got {wrong}')
        column = torch.tensor(values, dtype=best.dtype).to(best.device, non_blocking=True)
        return [truth is not None for truth in truths], torch.cat((column[:, None], best), dim=1)
