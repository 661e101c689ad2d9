"""What plots show of a run, counted from its saved predictions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from wsol_mm.evaluation.functional import OUTCOMES, box_areas
from wsol_mm.evaluation.metrics import LocalizationMetric
from wsol_mm.evaluation.metrics.protocol_record import ProtocolRecord
from wsol_mm.evaluation.protocols import LocalizationProtocol

import numpy as np
from numpy.typing import NDArray

#: Thresholds at which a protocol with a fixed one is shown.
SHOWN_THRESHOLDS = tuple(np.arange(0, 1, 0.01).tolist())


class RunHits(NamedTuple):
    """Which images of a run are localized right, whatever their class.

    Attributes:
        thresholds: (T,) float64, ascending.
        iou_levels: L levels.
        hits: (N, L, T) bool.
        object_areas: Largest ground-truth box of each image, as a share of the image's area, (N,).
        fixed_threshold: Of the protocol; None if it searches its threshold.
    """

    thresholds: NDArray[np.float64]
    iou_levels: tuple[float, ...]
    hits: NDArray[np.bool_]
    object_areas: NDArray[np.float64]
    fixed_threshold: float | None

    def accuracy(self, level: float) -> NDArray[np.float64]:
        """Return the box accuracy at an IoU level in percent, at every threshold (T,).

        Raises:
            ValueError: If the protocol does not count this level.
        """
        return 100 * self._hits_at(level).mean(axis=0)

    def threshold_index(self, level: float) -> int:
        """Return the index of the protocol's fixed threshold, or else of the first best one."""
        if self.fixed_threshold is None:
            return int(self.accuracy(level).argmax())
        return int(np.abs(self.thresholds - self.fixed_threshold).argmin())

    def hits_at_threshold(self, level: float) -> NDArray[np.bool_]:
        """Return the hits (N,) at the threshold of :meth:`threshold_index`."""
        return self._hits_at(level)[:, self.threshold_index(level)]

    def _hits_at(self, level: float) -> NDArray[np.bool_]:
        if level not in self.iou_levels:
            raise ValueError(
                f'level: expected an IoU level that is counted, {self.iou_levels}, got {level:g}'
            )
        return self.hits[:, self.iou_levels.index(level)]


def run_hits(
    samples: Sequence[dict[str, Any]], protocol: LocalizationProtocol, levels: Sequence[float]
) -> RunHits:
    """Evaluate saved predictions at many thresholds and IoU levels.

    Args:
        samples: Predictions, see :class:`LocalizationMetric`.
        protocol: How maps become boxes. A fixed threshold is kept, beside :data:`SHOWN_THRESHOLDS`.
        levels: IoU levels; 0.5 is always counted.

    Returns:
        The hits of the images with ground-truth boxes.

    Raises:
        ValueError: If no image has boxes, or a level lies outside (0, 1].
    """
    fixed = protocol.thresholds[0] if len(protocol.thresholds) == 1 else None
    thresholds = protocol.thresholds if fixed is None else tuple(sorted({*SHOWN_THRESHOLDS, fixed}))
    changes = dict(thresholds=thresholds, iou_levels=tuple(sorted({0.5, *levels})), error_breakdown=False)
    if protocol.threshold_choice == 'fixed':
        changes['threshold_choice'] = 'joint'
    metric, boxed = _evaluate(samples, protocol, changes)
    used = metric.protocols[0]
    shape = len(used.criteria), len(thresholds)
    # Of ranked maps the first serves the predicted class; further groups of bits are of more classes.
    bits = shape[0] * shape[1]
    hits = np.stack([np.unpackbits(record.known)[:bits] for record in _records(metric)])
    return RunHits(
        np.array(thresholds),
        used.iou_levels,
        hits.astype(bool).reshape(-1, *shape)[:, : len(used.iou_levels)],
        np.array([_largest_share(sample) for sample in boxed]),
        fixed,
    )


def outcome_shares(
    samples: Sequence[dict[str, Any]], protocol: LocalizationProtocol, threshold: float | None = None
) -> dict[str, float]:
    """Count TS-CAM's outcomes of the top-1 prediction, in percent.

    Args:
        samples: Predictions, see :class:`LocalizationMetric`.
        protocol: How maps become boxes.
        threshold: For a protocol that sweeps thresholds; or another than its own.

    Returns:
        Share of every outcome of ``OUTCOMES``.

    Raises:
        ValueError: If no image has boxes, or the protocol has several thresholds or no map of the label.
    """
    changes: dict[str, Any] = dict(error_breakdown=True)
    if threshold is not None:
        changes['thresholds'] = (threshold,)
    metric, _ = _evaluate(samples, protocol, changes)
    counts = np.bincount([record.outcome for record in _records(metric)], minlength=len(OUTCOMES))
    return dict(zip(OUTCOMES, (100 * counts / counts.sum()).tolist(), strict=True))


def _records(metric: LocalizationMetric) -> list[ProtocolRecord]:
    """Records of the images with boxes under the first protocol."""
    return [record.protocols[0] for record in metric.results if record.protocols is not None]


def _evaluate(
    samples: Sequence[dict[str, Any]], protocol: LocalizationProtocol, changes: dict[str, Any]
) -> tuple[LocalizationMetric, list[dict[str, Any]]]:
    boxed = [sample for sample in samples if len(sample.get('gt_bboxes', ()))]
    if not boxed:
        raise ValueError(f'samples: expected images with ground-truth boxes, got {len(samples)} without')
    metric = LocalizationMetric([replace(protocol, **changes)])
    metric.process({}, boxed)
    return metric, boxed


def _largest_share(sample: dict[str, Any]) -> float:
    height, width = sample['ori_shape'][:2]
    return float(box_areas(np.asarray(sample['gt_bboxes'])).max() / (height * width))
