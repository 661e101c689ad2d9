"""Counting the records of all images into the metrics of one protocol."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from wsol_mm.evaluation.functional.error_breakdown import OUTCOMES
from wsol_mm.evaluation.protocols import LocalizationProtocol

import numpy as np
from numpy.typing import NDArray

from .protocol_record import TOP_K, ProtocolRecord

_MAP_SUFFIX = {'label': '', 'predicted': '_predicted', 'ranked': '_ranked', 'agnostic': '_agnostic'}
# Names of metrics that count predicted classes, with the k best of which.
_COUNTS_CLASSES = re.compile(r'(?:Top-|loc_\w+_thr_[\d.]+_top-)(\d+)|/error/')
# Images unpacked at a time: bounds the memory of 1,000 thresholds x 3 levels at about 25 MB.
_CHUNK = 4096


class ProtocolCounts(NamedTuple):
    """Numbers of images, per criterion of the protocol and threshold.

    Where the protocol averages over classes, the images of a rare class count more: the numbers are
    fractions then, and their share of ``images`` is the mean of the classes' shares.

    Attributes:
        images: Number of images N with ground-truth boxes.
        known: Hits whatever the class (K, criteria, T).
        located: Hits with the label among the first k classes (len(TOP_K), criteria, T).
        classified: Images with the label among the first k classes (len(TOP_K),).
        outcomes: Number of images per outcome of the error breakdown, or None.
        map_kind: Which map was used.
        per_class: Images (C,), known[0] (C, criteria, T) and located[0] (C, criteria, T) of the classes
            that occur, and their labels (C,); or None.
    """

    images: int
    known: NDArray[np.number]
    located: NDArray[np.number]
    classified: NDArray[np.number]
    outcomes: NDArray[np.int64] | None
    map_kind: str
    per_class: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None

    @classmethod
    def from_records(
        cls,
        protocol: LocalizationProtocol,
        records: Sequence[ProtocolRecord],
        labels: NDArray[np.integer],
        ranks: NDArray[np.integer],
        per_class: bool = False,
    ) -> 'ProtocolCounts':
        """Count records.

        Args:
            protocol: The protocol the records were made with.
            records: One record per image (N,).
            labels: Ground-truth class of each image (N,).
            ranks: Rank of the label among the predicted classes (N,), -1 if outside the top five.
            per_class: Also count per class.

        Returns:
            The counts.
        """
        shape = len(protocol.criteria), len(protocol.thresholds)
        bits = shape[0] * shape[1]
        groups = len(TOP_K) if records[0].map_kind == 'ranked' else 1
        within = np.stack([(ranks >= 0) & (ranks < k) for k in TOP_K])
        known = np.zeros((groups, *shape), np.int64)
        located = np.zeros((len(TOP_K), *shape), np.int64)
        occurring, class_index = np.unique(labels, return_inverse=True)
        by_class = per_class or protocol.average == 'classes'
        class_known = np.zeros((len(occurring), *known.shape), np.int64) if by_class else None
        class_located = np.zeros((len(occurring), *located.shape), np.int64) if by_class else None
        for start in range(0, len(records), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            known_bits = _unpack((record.known for record in records[chunk]), groups * bits)
            known_bits = known_bits.reshape(-1, groups, *shape)
            labelled = _unpack((record.labelled for record in records[chunk]), bits).reshape(-1, *shape)
            known += known_bits.sum(axis=0, dtype=np.int64)
            for index, right in enumerate(within[:, chunk]):
                located[index] += labelled[right].sum(axis=0, dtype=np.int64)
            if class_known is not None and class_located is not None:
                np.add.at(class_known, class_index[chunk], known_bits)
                for index, right in enumerate(within[:, chunk]):
                    np.add.at(class_located[:, index], class_index[chunk], labelled & right[:, None, None])
        outcomes = None
        if protocol.error_breakdown:
            outcomes = np.bincount([record.outcome for record in records], minlength=len(OUTCOMES))
        classified, kind = within.sum(axis=1), records[0].map_kind
        if class_known is None or class_located is None:
            return cls(len(records), known, located, classified, outcomes, kind, None)
        images = np.bincount(class_index)
        if protocol.average == 'classes':
            class_classified = np.stack([np.bincount(class_index, right) for right in within], axis=1)
            known, located, classified = (
                len(records) * (hits.T / images).mean(axis=-1).T
                for hits in (class_known, class_located, class_classified)
            )
        table = (images, class_known[:, 0], class_located[:, 0], occurring) if per_class else None
        return cls(len(records), known, located, classified, outcomes, kind, table)


def summarize(
    protocol: LocalizationProtocol,
    counts: ProtocolCounts,
    classes: Sequence[str] | None = None,
    chosen: dict[str, float] | None = None,
) -> tuple[dict[str, float], dict[str, Any]]:
    """Metrics and details of one protocol.

    Args:
        protocol: The protocol.
        counts: Its counts.
        classes: Class names, for the per-class table.
        chosen: Thresholds found on another split, by the name under which they are reported; they
            replace the search on this one.

    Returns:
        The metrics by name (percent; thresholds in [0, 1)), and details for the report: thresholds, curves,
        and, where counted, outcomes and per-class accuracies.

    Raises:
        KeyError: If ``chosen`` lacks a threshold that the protocol searches.
    """
    chooser = _ThresholdChooser(protocol, chosen)
    make = {'localization': _localization, 'max_box': _max_box, 'scm': _scm}[protocol.report]
    values, index = make(protocol, counts, chooser)
    if protocol.average == 'classes':
        for k, count in zip(TOP_K, counts.classified, strict=True):
            values[f'Top-{k}_Cls'] = float(_percent(count, counts.images))
    criterion = protocol.loc_criterion
    details: dict[str, Any] = {
        'map': counts.map_kind,
        'thresholds': list(protocol.thresholds),
        'curves': {
            **{
                f'BoxAcc@{level:g}': _percent(counts.known[0, i], counts.images).tolist()
                for i, level in enumerate(protocol.iou_levels)
            },
            'Top-1_Loc': _percent(counts.located[0, criterion], counts.images).tolist(),
        },
    }
    if counts.outcomes is not None:
        details['outcomes'] = dict(zip(OUTCOMES, counts.outcomes.tolist(), strict=True))
        values.update(
            {
                f'error/{name}': float(_percent(count, counts.images))
                for name, count in zip(OUTCOMES, counts.outcomes, strict=True)
            }
        )
    if counts.per_class is not None:
        images, known, located, labels = counts.per_class
        details['per_class'] = {
            str(classes[label]) if classes is not None else str(label): {
                'images': int(images[i]),
                'BoxAcc@0.5': float(_percent(known[i, protocol.known_criterion, index], images[i])),
                'Top-1_Loc': float(_percent(located[i, criterion, index], images[i])),
            }
            for i, label in enumerate(labels)
        }
    return values, details


class _ThresholdChooser:
    """Picks the first best threshold of a curve, or the one that another split gave."""

    def __init__(self, protocol: LocalizationProtocol, chosen: dict[str, float] | None) -> None:
        self.thresholds = np.array(protocol.thresholds)
        self.protocol = protocol
        self.chosen = chosen

    def __call__(self, curve: NDArray[np.number], name: str) -> int:
        if self.chosen is None or len(self.thresholds) == 1:
            return int(np.argmax(curve))
        if name not in self.chosen:
            raise KeyError(
                f'thresholds_from: expected {self.protocol.name}/{name}, got {sorted(self.chosen)}'
            )
        return int(np.argmin(np.abs(self.thresholds - self.chosen[name])))

    def value(self, index: int) -> float:
        return float(self.thresholds[index])


def _localization(
    protocol: LocalizationProtocol, counts: ProtocolCounts, choose: _ThresholdChooser
) -> tuple[dict[str, float], int]:
    known = counts.known[0, protocol.known_criterion]
    located = counts.located[:, protocol.loc_criterion]
    if protocol.threshold_choice == 'each':
        return _localization_each(protocol, counts, located, choose)
    index = choose(located[0] if protocol.threshold_choice == 'top1' else known + located[0], 'threshold')
    values = {f'GT-known_Loc{_MAP_SUFFIX[counts.map_kind]}': float(_percent(known[index], counts.images))}
    for k, count in zip(TOP_K, located, strict=True):
        values[f'Top-{k}_Loc'] = float(_percent(count[index], counts.images))
    if protocol.threshold_choice != 'fixed':
        values['threshold'] = choose.value(index)
    if protocol.threshold_choice == 'joint':
        values['GT-known+Top-1_Loc'] = float(_percent((known + located[0])[index], counts.images))
    if len(protocol.iou_levels) > 1:
        accuracies = [
            float(_percent(counts.known[0, i, index], counts.images)) for i in range(len(protocol.iou_levels))
        ]
        for level, accuracy in zip(protocol.iou_levels, accuracies, strict=True):
            values[f'IoU{round(100 * level)}'] = accuracy
        values['IoU_mean'] = float(np.mean(accuracies))
    return values, index


def _localization_each(
    protocol: LocalizationProtocol,
    counts: ProtocolCounts,
    located: NDArray[np.number],
    choose: _ThresholdChooser,
) -> tuple[dict[str, float], int]:
    """Every metric at its own best threshold: the box accuracies, of which one is GT-known Loc, and Top-k."""
    accuracies, index = _max_box(protocol, counts, choose)
    known = float(_percent(counts.known[0, protocol.known_criterion, index], counts.images))
    values = {f'GT-known_Loc{_MAP_SUFFIX[counts.map_kind]}': known}
    for k, count in zip(TOP_K, located, strict=True):
        name = f'threshold_Top-{k}_Loc'
        best = choose(count, name)
        values[f'Top-{k}_Loc'] = float(_percent(count[best], counts.images))
        values[name] = choose.value(best)
    return {**values, **accuracies}, index


def _max_box(
    protocol: LocalizationProtocol, counts: ProtocolCounts, choose: _ThresholdChooser
) -> tuple[dict[str, float], int]:
    half = protocol.iou_levels.index(0.5)
    several = len(protocol.iou_levels) > 1
    suffix = _MAP_SUFFIX[counts.map_kind]
    values: dict[str, float] = {}
    accuracies, index_at_half = [], 0
    for i, level in enumerate(protocol.iou_levels):
        name = f'threshold@{level:g}' if several else 'threshold'
        index = choose(counts.known[0, i], name)
        accuracies.append(float(_percent(counts.known[0, i, index], counts.images)))
        values[(f'BoxAcc@{level:g}' if several else 'MaxBoxAcc') + suffix] = accuracies[-1]
        values[name] = choose.value(index)
        if i == half:
            index_at_half = index
    if several:
        mean = 'MaxBoxAccV2' if protocol.contours == 'all' else 'MaxBoxAcc_mean'
        values = {mean + suffix: float(np.mean(accuracies)), **values}
    return values, index_at_half


def _scm(
    protocol: LocalizationProtocol, counts: ProtocolCounts, choose: _ThresholdChooser
) -> tuple[dict[str, float], int]:
    values: dict[str, float] = {}
    index_at_half = 0
    for position, k in enumerate(TOP_K):
        known = counts.known[min(position, len(counts.known) - 1)]
        for i, level in enumerate(protocol.iou_levels):
            suffix = f'thr_{100 * level:.2f}_top-{k}'
            for kind, optimum, curve in (
                ('maxbox_acc', 'det_optThred', known[i]),
                ('loc_acc', 'loc_optThred', counts.located[position, i]),
            ):
                index = choose(curve, f'{optimum}_{suffix}')
                values[f'{kind}_{suffix}'] = float(_percent(curve[index], counts.images))
                values[f'{optimum}_{suffix}'] = choose.value(index)
                if level == 0.5 and kind == 'maxbox_acc':
                    values[f'GT-Known_top-{k}'] = values[f'{kind}_{suffix}']
                    index_at_half = index if k == 1 else index_at_half
    return values, index_at_half


def classes_counted(name: str) -> int:
    """Return how many of the best predicted classes a metric counts, 0 if it asks for none.

    Args:
        name: Name of a metric of ``LocalizationMetric``, with its protocol.
    """
    found = _COUNTS_CLASSES.search(name)
    return 0 if found is None else int(found[1] or 1)


def _percent(count: NDArray[np.number], images: int) -> NDArray[np.float64]:
    return 100.0 * np.asarray(count, np.float64) / images


def _unpack(rows: Iterable[NDArray[np.uint8]], bits: int) -> NDArray[np.uint8]:
    return np.unpackbits(np.stack(list(rows)), axis=1, count=bits)
