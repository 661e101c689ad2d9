"""Saved maps under the protocols, on the images of a data set, without a model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from wsol_mm.datasets.image_pipeline import image_fields, pipeline_item, run_transforms
from wsol_mm.datasets.localization_dataset import LocalizationDataset
from wsol_mm.datasets.readers.saved_maps import MapProblem, SavedMaps
from wsol_mm.evaluation.image_names import NAMED
from wsol_mm.evaluation.metrics import LocalizationMetric
from wsol_mm.evaluation.metrics.protocol_record import MapsByClass, wanted_classes
from wsol_mm.evaluation.metrics.protocol_summary import classes_counted
from wsol_mm.evaluation.protocols import LocalizationProtocol

import numpy as np
from mmengine.evaluator import BaseMetric, Evaluator
from numpy.typing import NDArray

from .class_scores import MOST_RANKS, BestClasses

#: What an image's only map is of, whatever label it carries: all classes, or the image's true class.
MapsOf = Literal['all', 'label']

# Side of the image that stands in for one of unknown size, which has neither boxes nor masks.
_STAND_IN_SIDE = 224
_NOBODY = np.array([-1])
# So many usable maps are looked at to tell of what kind they are.
_LOOKED_AT = 9


@dataclass
class MapEvaluation:
    """What came out.

    Attributes:
        metrics: The metrics, without those in ``left_out``.
        images: Number of images of the data set.
        problems: For every image whose localization counts as wrong because of its map, or whose
            classification does because of its scores: what is wrong.
        left_out: Names of metrics for which too few predicted classes are known.
        notes: What else differs from an evaluation with all scores.
    """

    metrics: dict[str, float]
    images: int
    problems: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def evaluate_maps(
    metrics: Sequence[BaseMetric],
    dataset: LocalizationDataset,
    maps: SavedMaps,
    best_classes: BestClasses | None = None,
    maps_of: MapsOf | None = None,
) -> MapEvaluation:
    """Evaluate saved maps, one at a time.

    The images are not read: their size is known to the data set, and a black image goes through the pipeline,
    which says what of it the maps show. A map that cannot be used counts as a wrong localization, an image
    without scores as a wrong classification; a map without contrast counts as in any evaluation.

    Args:
        metrics: ``LocalizationMetric``, ``PixelAveragePrecision``.
        dataset: A data set with boxes or masks, and the pipeline whose output the maps show.
        maps: Its maps.
        best_classes: Best classes of its images; without, no class is predicted.
        maps_of: What an image's only map is of. None: of the class of its label; without one, of all classes.

    Returns:
        The metrics and the problems.

    Raises:
        ValueError: If no map can be used, or something that a metric needs is not there: boxes, predicted
            classes, the size of an image.
        TypeError: If the data set is of another library.
    """
    if not isinstance(dataset, LocalizationDataset):
        raise TypeError(f'dataset: expected a LocalizationDataset, got {type(dataset).__name__}')
    num_classes = len(dataset.metainfo['classes'])
    protocols = [protocol for metric in metrics for protocol in getattr(metric, 'protocols', ())]
    _check_boxes(metrics, dataset, best_classes)
    agnostic = _most_are_agnostic(dataset, maps, maps_of)
    ranks = 0 if best_classes is None else best_classes.ranks
    _check_ranks(protocols, agnostic, ranks, num_classes)
    evaluator = Evaluator(list(metrics))
    evaluator.dataset_meta = dataset.metainfo
    problems = []
    for position in range(len(dataset)):
        sample, problem = _sample(dataset, position, maps, best_classes, maps_of, agnostic, protocols)
        problems += [problem] if problem else []
        evaluator.process([sample])
    values = evaluator.evaluate(len(dataset))
    left_out = [name for name in values if min(classes_counted(name), num_classes) > ranks]
    notes = [
        f'{protocol.name}: without scores the threshold is the best one for GT-known Loc alone'
        for protocol in protocols
        if not ranks and protocol.threshold_choice == 'joint' and len(protocol.thresholds) > 1
    ]
    kept = {name: value for name, value in values.items() if name not in left_out}
    return MapEvaluation(kept, len(dataset), problems, left_out, notes)


def _sample(
    dataset: LocalizationDataset,
    position: int,
    maps: SavedMaps,
    best_classes: BestClasses | None,
    maps_of: MapsOf | None,
    agnostic: bool,
    protocols: Sequence[LocalizationProtocol],
) -> tuple[dict[str, Any], str | None]:
    """Return an image as the metrics take predictions, and what is wrong with its map or scores."""
    info = dataset.get_data_info(position)
    img_id, label = info['img_id'], info['gt_label']
    sample = _packed(dataset, info)
    best, problem = _NOBODY, None
    if best_classes is not None:
        best = best_classes.by_image.get(img_id, _NOBODY)
        problem = f'{img_id}: expected scores, got none' if best is _NOBODY else None
    blank = np.zeros((1, 1, 1), np.float32)
    try:
        loc_maps, labels = _read(maps, info, len(dataset.metainfo['classes']), maps_of)
        if _are_agnostic(labels) != agnostic:
            kinds = 'maps of all classes', 'maps of classes'
            expected, found = kinds if agnostic else kinds[::-1]
            raise MapProblem(f'{img_id}: expected {expected}, as most images have, got {found}')
    except MapProblem as error:
        problem, without_map = str(error), {protocol.name for protocol in protocols}
        loc_maps, labels = blank, _NOBODY if agnostic else np.array([label])
    else:
        by_class = MapsByClass(loc_maps, labels)
        missing = {
            protocol.name: {*wanted_classes(protocol, by_class, label, best)} - {*labels.tolist()}
            for protocol in (() if agnostic else protocols)
        }
        without_map = {name for name, classes in missing.items() if classes}
        if without_map and problem is None:
            classes = sorted(set.union(*missing.values()))
            problem = (
                f'{img_id}: expected maps of the classes {classes} for {", ".join(sorted(without_map))}, got '
                f'maps of {labels.tolist()}'
            )
        if not agnostic and label not in labels:
            # What PxAP takes for a map without contrast.
            loc_maps = np.concatenate([loc_maps, np.zeros_like(loc_maps[:1])])
            labels = np.append(labels, label)
    values = dict(loc_maps=loc_maps, loc_labels=labels, pred_topk=best, no_map_for=without_map)
    return {**sample, **values}, problem


def _packed(dataset: LocalizationDataset, info: dict[str, Any]) -> dict[str, Any]:
    """Send a black image of the size of an item's through the pipeline."""
    if 'height' not in info and ('gt_bboxes' in info or 'mask_paths' in info):
        raise ValueError(
            f'{info["img_id"]}: expected the size of the image, got none. Data sets with check_files=True '
            'and read_headers=True, or with a list of sizes, know it'
        )
    shape = info.get('height', _STAND_IN_SIDE), info.get('width', _STAND_IN_SIDE), 3
    black = image_fields(np.zeros(shape, np.uint8))
    packed = run_transforms(dataset.pipeline.transforms, {**pipeline_item(info), **black})
    return packed['data_samples'].to_dict()


def _read(
    maps: SavedMaps, info: dict[str, Any], num_classes: int, maps_of: MapsOf | None
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    loc_maps, labels = maps.read(info['img_id'], num_classes)
    if maps_of is not None:
        if len(loc_maps) != 1:
            raise MapProblem(
                f'{info["img_id"]}: expected one map, as maps_of is {maps_of!r}, got {len(loc_maps)}'
            )
        labels = _NOBODY if maps_of == 'all' else np.array([info['gt_label']])
    return loc_maps, np.full(len(loc_maps), -1) if labels is None else labels


def _are_agnostic(labels: NDArray[np.int64]) -> bool:
    return bool((labels == -1).all())


def _most_are_agnostic(dataset: LocalizationDataset, maps: SavedMaps, maps_of: MapsOf | None) -> bool:
    """Return whether most of the first usable maps are of all classes; one file by mistake decides nothing.

    Raises:
        ValueError: If no image has a usable map.
    """
    kinds: list[bool] = []
    reason = ''
    for position in range(len(dataset)):
        info = dataset.get_data_info(position)
        try:
            labels = _read(maps, info, len(dataset.metainfo['classes']), maps_of)[1]
        except MapProblem as error:
            reason = reason or str(error)
            continue
        kinds.append(_are_agnostic(labels))
        if len(kinds) == _LOOKED_AT:
            break
    if not kinds:
        unused = f'. Maps of no image: {", ".join(maps.unused[:NAMED])}' if maps.unused else ''
        raise ValueError(
            f'{maps.source}: expected maps of the images, got none that can be used: {reason}{unused}'
        )
    return 2 * sum(kinds) > len(kinds)


def _check_boxes(
    metrics: Sequence[BaseMetric], dataset: LocalizationDataset, best_classes: BestClasses | None
) -> None:
    if best_classes is not None or not all(isinstance(metric, LocalizationMetric) for metric in metrics):
        return
    if not any('gt_bboxes' in dataset.get_data_info(position) for position in range(len(dataset))):
        mend = '. dataset.box_source names them' if hasattr(dataset, 'box_source') else ''
        raise ValueError(f'{dataset.source}: expected ground-truth boxes, got none{mend}')


def _check_ranks(
    protocols: Sequence[LocalizationProtocol], agnostic: bool, ranks: int, num_classes: int
) -> None:
    """Raise a ValueError if a protocol reads more predicted classes than are known."""
    for protocol in protocols:
        needed = 0 if agnostic else {'label': 0, 'predicted': 1, 'ranked': MOST_RANKS}[protocol.map_source]
        if protocol.threshold_choice == 'top1':
            needed = max(needed, 1)
        if ranks < min(needed, num_classes):
            best = 'the best class' if needed == 1 else f'the {needed} best classes'
            raise ValueError(
                f'scores: expected {best} of every image, as protocol {protocol.name!r} reads predicted '
                f'classes (pred_topk), got {ranks or "none"}'
            )
