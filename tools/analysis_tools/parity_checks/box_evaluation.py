"""Cases ``evaluation/box_*``: boxes, IoU and counts of wsolevaluation from given score maps."""

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import (
    ImageGeometry,
    all_regions,
    gt_boxes_to_frame,
    integer_thresholds,
    level_image,
    quantize,
)
from wsol_mm.evaluation.map_boxes import finish_boxes, score_map_iou
from wsol_mm.evaluation.metrics.protocol_record import ProtocolRecord
from wsol_mm.evaluation.metrics.protocol_summary import ProtocolCounts, summarize
from wsol_mm.evaluation.protocols import LocalizationProtocol

import numpy as np

from . import Case, Comparison, close, equal, register

_PRESETS = {'single': 'maxboxacc', 'multi': 'maxboxacc_v2'}
_LEVELS = (0.3, 0.5, 0.7)


@register('evaluation', lambda case: 'in/maps' in case.arrays and 'in/gt_offsets' in case.arrays)
def check_boxes(case: Case) -> list[Comparison]:
    """Compare boxes at every threshold, max-IoU, counts and accuracies."""
    arrays = dict(case.arrays)
    maps = arrays['in/maps']
    scores = [score / float(np.iinfo(maps.dtype).max) for score in maps]
    size = maps.shape[2], maps.shape[1]
    offsets = arrays['in/gt_offsets']
    gt_boxes = [
        gt_boxes_to_frame(arrays['in/gt_boxes'][a:b], ImageGeometry(tuple(image), size, size), 'integer')
        for image, a, b in zip(arrays['in/image_sizes'], offsets, offsets[1:], strict=False)
    ]
    results = [equal('gt_boxes_224', np.concatenate(gt_boxes), arrays['out/gt_boxes_224'])]
    for key in [key for key in arrays if key.startswith('in/thresholds_')]:
        interval = key.removeprefix('in/thresholds_')
        for mode, preset in _PRESETS.items():
            protocol = get_protocol(preset, thresholds=arrays[key], iou_levels=_LEVELS)
            results += _check_mode(
                protocol,
                scores,
                gt_boxes,
                {
                    name.removeprefix(prefix): value
                    for prefix in [f'out/{interval}/{mode}/']
                    for name, value in arrays.items()
                    if name.startswith(prefix)
                },
                f'{interval}/{mode}/',
            )
    return results


def _check_mode(
    protocol: LocalizationProtocol,
    scores: list[np.ndarray],
    gt_boxes: list[np.ndarray],
    expected: dict[str, np.ndarray],
    prefix: str,
) -> list[Comparison]:
    found = [score_map_iou(score, boxes, protocol) for score, boxes in zip(scores, gt_boxes, strict=True)]
    iou = np.stack([result.iou for result in found])
    rows = len(expected['max_iou'])
    results = [close(f'{prefix}max_iou', iou[:: len(iou) // rows][:rows], expected['max_iou'], 1e-12)]
    hits = np.stack([iou >= level for level in _LEVELS], axis=1)
    records = [ProtocolRecord(np.packbits(bits), np.packbits(bits), -1, 0, 'label') for bits in hits]
    zeros = np.zeros(len(records), int)
    counts = ProtocolCounts.from_records(protocol, records, zeros, zeros)
    values, _ = summarize(protocol, counts)
    mean = values['MaxBoxAccV2' if protocol.contours == 'all' else 'MaxBoxAcc_mean']
    accuracies = [values[f'BoxAcc@{level:g}'] for level in _LEVELS]
    results += [
        equal(f'{prefix}num_correct', counts.known[0], expected['num_correct']),
        close(f'{prefix}max_box_acc', accuracies, expected['max_box_acc'], 1e-12),
        close(f'{prefix}mean', mean, expected['mean'], 1e-12),
    ]
    checked = {'max_iou', 'num_correct', 'max_box_acc', 'mean'}
    if 'boxes' in expected:
        checked.add('boxes')
        results.append(
            equal(f'{prefix}boxes', np.stack([result.boxes for result in found]), expected['boxes'])
        )
    if 'num_boxes' in expected:
        checked |= {'num_boxes', 'boxes_every10', 'boxes_every10_count'}
        results += _check_all_boxes(protocol, scores, expected, prefix)
    for name in sorted(set(expected) - checked):
        results.append(Comparison(f'{prefix}{name} (not checked)', float('inf'), 0.0))
    return results


def _check_all_boxes(
    protocol: LocalizationProtocol, scores: list[np.ndarray], expected: dict[str, np.ndarray], prefix: str
) -> list[Comparison]:
    numbers, boxes_every10, counts_every10 = [], [], []
    for score in scores:
        quantized = quantize(score)
        levels = level_image(quantized, integer_thresholds(np.array(protocol.thresholds), quantized.max()))
        regions = all_regions(levels.levels, levels.num_levels)
        boxes = finish_boxes(regions.boxes, score.shape, protocol)
        per_level = [
            boxes[(regions.first_level <= level) & (level <= regions.last_level)]
            for level in range(levels.num_levels)
        ]
        # Where nothing is above the threshold, the reference has one box of zeros.
        per_level = [level if len(level) else np.zeros((1, 4)) for level in per_level]
        numbers.append([len(per_level[index]) for index in levels.index])
        chosen = [per_level[index] for index in levels.index[::10]]
        counts_every10.append([len(boxes) for boxes in chosen])
        boxes_every10 += chosen
    results = [equal(f'{prefix}num_boxes', numbers, expected['num_boxes'])]
    if 'boxes_every10' in expected:
        results.append(equal(f'{prefix}boxes_every10_count', counts_every10, expected['boxes_every10_count']))
        parts = np.split(expected['boxes_every10'], np.cumsum(expected['boxes_every10_count'].ravel())[:-1])
        different = sum(
            not np.array_equal(_sorted(found), _sorted(wanted))
            for found, wanted in zip(boxes_every10, parts, strict=True)
        )
        results.append(Comparison(f'{prefix}boxes_every10 (multisets)', float(different), 0.0))
    return results


def _sorted(boxes: np.ndarray) -> np.ndarray:
    return boxes[np.lexsort(boxes.T)].astype(np.int64)
