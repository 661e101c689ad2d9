"""The evaluators of wsolevaluation on given score maps: boxes, masks, and the normalisation of maps."""

from collections.abc import Mapping

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import (
    ConstantMapError,
    ImageGeometry,
    PixelHistograms,
    all_regions,
    gt_boxes_to_frame,
    integer_thresholds,
    level_image,
    pixel_average_precision,
    pixel_histograms,
    quantize,
    rasterize_masks,
)
from wsol_mm.evaluation.map_boxes import finish_boxes, score_map, score_map_iou
from wsol_mm.evaluation.metrics.protocol_record import ProtocolRecord
from wsol_mm.evaluation.metrics.protocol_summary import ProtocolCounts, summarize
from wsol_mm.evaluation.protocols import LocalizationProtocol

import numpy as np
from numpy.typing import NDArray

from ..case import Case
from ..comparison import Comparison, close, equal, failure
from ..engine import checks

_PRESETS = {'single': 'maxboxacc', 'multi': 'maxboxacc_v2'}
_LEVELS = (0.3, 0.5, 0.7)


@checks('evaluation', lambda case: 'in/maps' in case.arrays and 'in/gt_offsets' in case.arrays)
def check_boxes(case: Case) -> list[Comparison]:
    """Compare boxes at every threshold, max-IoU, counts and accuracies."""
    arrays = case.arrays
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
    scores: list[NDArray],
    gt_boxes: list[NDArray],
    expected: Mapping[str, NDArray],
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
        results.append(failure(f'{prefix}{name} (not checked)'))
    return results


def _check_all_boxes(
    protocol: LocalizationProtocol, scores: list[NDArray], expected: Mapping[str, NDArray], prefix: str
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


def _sorted(boxes: NDArray) -> NDArray:
    return boxes[np.lexsort(boxes.T)].astype(np.int64)


@checks('evaluation', lambda case: 'in/map_image' in case.arrays)
def check_masks(case: Case) -> list[Comparison]:
    """Compare label maps, histograms and PxAP at every interval and score rule."""
    arrays = case.arrays
    codes = arrays['in/maps'].astype(np.int64)
    size = codes.shape[2], codes.shape[1]
    label_maps = [
        rasterize_masks(_numbered(arrays, f'in/mask/{k}/'), [arrays[f'in/ignore/{k}']], size)
        for k in range(len(arrays['in/image_ids']))
    ]
    results = [equal('gt_mask', np.stack(label_maps), arrays['out/gt_mask'])]
    for prefix in sorted({name.rsplit('/', 1)[0] for name in arrays if name.endswith('/pxap')}):
        _, rule, interval = prefix.split('/')
        thresholds = np.arange(0, 1, float(interval))
        histograms = [
            pixel_histograms(score, label_maps[image], thresholds)
            for score, image in zip(_scores(codes, rule), arrays['in/map_image'], strict=True)
        ]
        total = PixelHistograms(*np.sum(histograms, axis=0))
        name = f'{rule}/{interval}/'
        results += [
            equal(f'{name}hist_true', total.foreground, arrays[f'{prefix}/hist_true']),
            equal(f'{name}hist_false', total.background, arrays[f'{prefix}/hist_false']),
            close(f'{name}pxap', pixel_average_precision(total), arrays[f'{prefix}/pxap'], 1e-9),
            close(
                f'{name}pxap_per_map',
                [_pxap_or_nan(histogram) for histogram in histograms],
                arrays[f'{prefix}/pxap_per_map'],
                1e-9,
            ),
        ]
    return results


@checks('evaluation', lambda case: any(name.startswith('in/cams_') for name in case.arrays))
def check_normalisation(case: Case) -> list[Comparison]:
    """Compare enlarged and normalised class maps."""
    arrays = case.arrays
    protocol = get_protocol('maxboxacc')
    results = []
    for key in [name.removeprefix('in/') for name in arrays if name.startswith('in/cams_')]:
        size = (arrays[f'out/{key}/score_row0'].shape[-1],) * 2
        scores = []
        for loc_map in arrays[f'in/{key}']:
            try:
                scores.append(score_map(loc_map, size, protocol))
            except ConstantMapError:
                scores.append(np.zeros(size[::-1]))
        stack = np.stack(scores)
        out = f'out/{key}/'
        sums = arrays[f'{out}sum']
        results += [
            close(f'{key}/score_sub', stack[:, 8::16, 8::16], arrays[f'{out}score_sub'], 1e-9),
            close(f'{key}/score_row0', stack[:, 0], arrays[f'{out}score_row0'], 1e-9),
            equal(
                f'{key}/q_first2',
                np.stack([quantize(score) for score in stack[:2]]),
                arrays[f'{out}q_first2'],
            ),
            close(
                f'{key}/sum', stack.sum(axis=(1, 2)) / np.maximum(sums, 1), sums / np.maximum(sums, 1), 1e-5
            ),
            equal(f'{key}/argmax', stack.reshape(len(stack), -1).argmax(axis=1), arrays[f'{out}argmax']),
        ]
    return results


def _numbered(arrays: Mapping[str, NDArray], prefix: str) -> list[NDArray]:
    count = sum(name.startswith(prefix) for name in arrays)
    return [arrays[f'{prefix}{index}'] for index in range(count)]


def _scores(codes: NDArray, rule: str) -> NDArray:
    """Score maps from 8-bit codes; the ``edge`` rules put scores exactly on bin edges."""
    if rule == 'q255':
        return codes / 255.0
    steps = {'edge001': 100, 'edge0001': 1000}[rule]
    edges = np.append(np.arange(0, 1, 1 / steps), 1.0)
    return edges[codes * steps // 255]


def _pxap_or_nan(histograms: PixelHistograms) -> float:
    try:
        return pixel_average_precision(histograms)
    except ValueError:
        return float('nan')
