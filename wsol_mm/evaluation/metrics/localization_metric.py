"""Localization accuracy under any number of protocols in one pass over the data."""

import copy
import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from inspect import signature
from typing import Any

from wsol_mm.evaluation.protocols import LocalizationProtocol, get_protocol, refuse_dataset
from wsol_mm.registry import METRICS
from wsol_mm.utils.whole_files import write_json

import mmengine
import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from .image_record import ImageRecord, image_record
from .overlapped_metric import OverlappedMetric
from .protocol_record import TOP_K, MapsByClass, failed_record
from .protocol_summary import ProtocolCounts, summarize
from .validity import invalid_metrics


@METRICS.register_module()
class LocalizationMetric(OverlappedMetric[ImageRecord]):
    """GT-known / Top-1 / Top-5 Loc, MaxBoxAcc and relatives under several protocols at once.

    It reads predictions with ``pred_topk``, ``loc_maps`` (K, h, w), ``loc_labels`` (K,), ``gt_label``, the
    meta keys of :class:`ImageGeometry` and, where the data set has boxes, ``gt_bboxes`` (G, 4) in pixels of
    the original image. Under the protocols that ``no_map_for`` names, where it is there, the image has no
    usable map and its localization counts as wrong.

    Boxes are found on every rank, by processes beside the network (``num_eval_workers``); only an
    :class:`ImageRecord` of some hundred bytes per image travels between ranks, and the result is the same for
    any number of them and of processes.

    The results are percentages under ``<protocol>/<metric>``:

    - 'fixed', 'joint' and 'top1' protocols: ``GT-known_Loc`` (with the suffix ``_predicted`` or
      ``_agnostic`` where the map is not the ground-truth class's), ``Top-1_Loc``, ``Top-5_Loc``; 'joint' and
      'top1' also ``threshold``; with several IoU levels ``IoU30``, ``IoU50``, ``IoU70``, ``IoU_mean``; with
      the error breakdown ``error/<outcome>``;
    - ``maxboxacc``: ``MaxBoxAcc`` and ``threshold``, the first optimum;
    - ``maxboxacc_v2``: ``MaxBoxAccV2`` (the mean) and ``BoxAcc@0.3``, ``@0.5``, ``@0.7`` with a
      ``threshold@...`` each;
    - ``scm`` (ranked maps): the metric list of SCM's test script under its own names;

    and, once, ``Top-1_Cls`` and ``Top-5_Cls``; a protocol that averages over classes has its own. All are
    NaN where the model gave scores or maps that are NaN or infinite for an image that could be read.

    Args:
        protocols: Names of presets, dicts of :func:`get_protocol` arguments (``name`` and changes; ``alias``
            renames the result), or protocols.
        tuned_on: 'cub' or 'ilsvrc': the presets take what their publications tuned on this data set, see
            :func:`get_protocol`. Whatever images are evaluated, a protocol may say otherwise for itself.
        thresholds_from: JSON file with results of another split (``tools/test.py --out`` or
            ``report_file``): swept protocols take their thresholds from there instead of searching
            the evaluated split.
        per_class: Also compute per-class accuracies; they are logged as a table and written to the report.
        report_file: JSON file for the threshold curves, optima, outcomes and per-class numbers.
        num_eval_workers: Processes of each rank that find the boxes of a batch while the network works on the
            next ones. At most two batches wait for them. 0: :meth:`process` finds the boxes itself.
        collect_device: 'cpu' or 'gpu'.
        prefix: Optional prefix of all names.
        **kwargs: Of :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        ValueError: If an argument or a protocol is unknown, two protocols share a name, or
            ``thresholds_from`` lacks one.
    """

    default_prefix = 'localization'
    fields = (*OverlappedMetric.fields, 'pred_topk', 'gt_bboxes', 'no_map_for')

    def __init__(
        self,
        protocols: Sequence[str | dict | LocalizationProtocol],
        tuned_on: str = 'cub',
        thresholds_from: str | None = None,
        per_class: bool = False,
        report_file: str | None = None,
        num_eval_workers: int = 2,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        refuse_dataset(kwargs)
        accepted = {**signature(LocalizationMetric).parameters, **signature(BaseMetric).parameters}
        if unknown := sorted(kwargs.keys() - accepted):
            names = [name for name in accepted if name != 'kwargs']
            raise ValueError(f'LocalizationMetric: expected arguments out of {names}, got {unknown}')
        self.protocols = [_protocol(item, tuned_on) for item in protocols]
        super().__init__(
            partial(image_record, self.protocols),
            num_eval_workers,
            collect_device=collect_device,
            prefix=prefix,
            **kwargs,
        )
        # Every name starts with its protocol's, so no prefix is needed.
        self.prefix = prefix
        names = [protocol.name for protocol in self.protocols]
        if not names or len(set(names)) != len(names):
            raise ValueError(f'protocols: expected one or more with different names, got {names}')
        self.chosen = (
            {} if thresholds_from is None else load_thresholds(self.protocols, thresholds_from, prefix)
        )
        self.per_class = per_class
        self.report_file = report_file

    def _alone(self) -> 'LocalizationMetric':
        """Return a copy that writes nothing."""
        trial = copy.copy(self)
        trial.report_file, trial.per_class = None, False
        return trial

    def _of_finite(self, results: list[ImageRecord]) -> dict[str, float]:
        """Return the metrics of the images whose scores and maps are numbers."""
        finite = [record for record in results if record.finite]
        return self._alone().compute_metrics(finite) if 0 < len(finite) < len(results) else {}

    def metric_names(self) -> set[str]:
        """Return the names of all metrics that there may be, whatever maps the model has."""
        trial = self._alone()
        names: set[str] = set()
        for label in (0, -1):  # a map of a class, or of all
            maps = MapsByClass(np.zeros((1, 1, 1), np.float32), np.array([label]))
            records = tuple(failed_record(protocol, maps) for protocol in self.protocols)
            names.update(trial.compute_metrics([ImageRecord(0, -1, records)]))
        return {f'{self.prefix}/{name}' for name in names} if self.prefix else names

    def compute_metrics(self, results: list[ImageRecord]) -> dict[str, float]:
        """Turn the records of all images into percentages.

        Args:
            results: One record per image, padding duplicates already removed.

        Returns:
            Metric values by name, see the class.
        """
        logger = MMLogger.get_current_instance()
        ranks = np.array([record.rank for record in results])
        metrics = {f'Top-{k}_Cls': 100.0 * float(np.mean((ranks >= 0) & (ranks < k))) for k in TOP_K}
        infinite = sum(not record.finite for record in results)
        failed = sum(record.failed for record in results)
        if failed:
            logger.warning(f'{failed} of {len(results)} images could not be read: they count as wrong.')
        boxed = [record for record in results if record.protocols is not None]
        if len(boxed) < len(results):
            logger.warning(
                f'{len(results) - len(boxed)} of {len(results)} images have no ground-truth box: '
                'they count for classification only.'
            )
        if not boxed:
            if not infinite:
                return metrics
            return invalid_metrics(metrics, infinite, len(results), self._of_finite(results))
        report: dict[str, Any] = {}
        classes = (self.dataset_meta or {}).get('classes') if self.per_class else None
        labels = np.array([record.label for record in boxed])
        ranks = np.array([record.rank for record in boxed])
        for index, protocol in enumerate(self.protocols):
            records = [record.protocols[index] for record in boxed if record.protocols is not None]
            others = Counter(record.other_geometry for record in records if record.other_geometry)
            if others:
                logger.warning(
                    f'{protocol.name} was published with the test geometry {protocol.geometry!r}; '
                    f'{others.total()} of {len(records)} images came with {", ".join(map(repr, others))}. '
                    'Boxes are mapped through the real one, but the numbers cannot be compared with those '
                    'published.'
                )
            constant = sum(record.constant_maps for record in records)
            if constant:
                logger.warning(
                    f'{protocol.name}: {constant} localization maps have no contrast (constant or NaN); '
                    f'they count with the box {protocol.empty_box!r}.'
                )
            empty = sum(record.empty_maps for record in records)
            if empty:
                logger.warning(
                    f'{protocol.name}: {empty} of {len(records)} images have a map with nothing above the '
                    f'threshold; they count with the box {protocol.empty_box!r}.'
                )
            counts = ProtocolCounts.from_records(protocol, records, labels, ranks, self.per_class)
            values, details = summarize(protocol, counts, classes, self.chosen.get(protocol.name))
            metrics.update({f'{protocol.name}/{name}': value for name, value in values.items()})
            report[protocol.name] = (
                {'metrics': dict.fromkeys(values, math.nan)} if infinite else {'metrics': values, **details}
            )
            if 'per_class' in details:
                logger.info(f'{protocol.name}, per class (%):\n{_format_table(details["per_class"])}')
        if infinite:
            metrics = invalid_metrics(metrics, infinite, len(results), self._of_finite(results))
        if self.report_file is not None:
            report['images'] = len(boxed)
            # First, should the disk be full.
            logger.info(', '.join(f'{name}: {value:.4f}' for name, value in metrics.items()))
            write_json(self.report_file, report, indent=1)
        return metrics


def load_thresholds(
    protocols: Sequence[LocalizationProtocol], path: str, prefix: str | None = None
) -> dict[str, dict[str, float]]:
    """Read the thresholds that another split gave to swept protocols.

    Args:
        protocols: The protocols.
        path: JSON file with ``<protocol>/<threshold name>`` (``tools/test.py --out``) or with
            ``<protocol>: {metrics: {<threshold name>: ...}}`` (``report_file``).
        prefix: Prefix of the metric that wrote the file, if it has one.

    Returns:
        For every swept protocol, its metrics by name; the thresholds are among them.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it holds nothing of a swept protocol.
    """
    try:
        values = mmengine.load(path)
    except ValueError as error:
        raise ValueError(f'{path}: expected results of a test by name, got others: {error}') from error
    if not isinstance(values, dict):
        raise ValueError(f'{path}: expected results of a test by name, got a {type(values).__name__}')
    if prefix:
        values = {name.removeprefix(f'{prefix}/'): value for name, value in values.items()}
    chosen = {}
    for protocol in protocols:
        if protocol.threshold_choice == 'fixed':
            continue
        flat = {
            name.removeprefix(f'{protocol.name}/'): value
            for name, value in values.items()
            if name.startswith(f'{protocol.name}/')
        }
        report = values.get(protocol.name)
        found = report.get('metrics', flat) if isinstance(report, dict) else flat
        if not found or not isinstance(found, dict):
            raise ValueError(f'{path}: expected results of protocol {protocol.name!r}, got {sorted(values)}')
        for name, value in found.items():
            if name.startswith('threshold') and not _is_finite(value):
                raise ValueError(f'{path}: expected a finite number as {protocol.name}/{name}, got {value!r}')
        chosen[protocol.name] = found
    return chosen


def _protocol(item: str | dict | LocalizationProtocol, tuned_on: str) -> LocalizationProtocol:
    if isinstance(item, LocalizationProtocol):
        return item
    return get_protocol(**{'tuned_on': tuned_on, **(dict(name=item) if isinstance(item, str) else item)})


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _format_table(per_class: dict[str, dict[str, float]]) -> str:
    columns = list(next(iter(per_class.values())))
    width = max(len(name) for name in per_class)
    lines = [' ' * width + ''.join(f'{column:>18}' for column in columns)]
    for name, values in per_class.items():
        lines.append(f'{name:<{width}}' + ''.join(f'{values[column]:>18.2f}' for column in columns))
    return '\n'.join(lines)
