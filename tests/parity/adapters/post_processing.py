"""Post-process cases of TS-CAM, SCM, SAT, LCTR, CATR and CDTR: their evaluators on given maps."""

from collections.abc import Mapping

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import ConstantMapError, box_iou, quantize
from wsol_mm.evaluation.map_boxes import localization_map_iou, score_map
from wsol_mm.evaluation.metrics.protocol_record import MapsByClass
from wsol_mm.evaluation.metrics.protocol_summary import ProtocolCounts
from wsol_mm.evaluation.protocols import LocalizationProtocol
from wsol_mm.models.heads.localization_head import mean_scores

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray

from ..case import Case
from ..comparison import Comparison, close, equal, failure
from ..engine import checks
from ..evaluators import accuracy, all_classes, boxes_and_iou, evaluate, top_classes


def is_postprocess(case: Case) -> bool:
    """Whether maps, labels and boxes are given."""
    return 'in/label' in case.arrays and ('in/gt_boxes' in case.arrays or 'in/gt_box' in case.arrays)


def size_of(case: Case, default: int = 224) -> tuple[int, int]:
    """Return the frame, which the references fix at 224 where a case says nothing else.

    Raises:
        ValueError: If the boxes do not fit into it.
    """
    side = case.frame(default=default)
    largest = max(case.arrays[name].max() for name in ('in/gt_boxes', 'in/gt_box') if name in case.arrays)
    if largest > side:
        raise case.error('frame', side, f'at least {largest}, which boxes reach')
    return side, side


@checks('ts_cam', is_postprocess)
def check_ts_cam(case: Case) -> list[Comparison]:
    """TS-CAM: boxes, decisions per sample, metrics and error breakdown."""
    arrays, meta, size = case.arrays, case.meta, size_of(case)
    protocol = get_protocol('ts_cam', thresholds=(meta['cam_thr'],))
    cams, labels = arrays['in/cams'], arrays['in/label']
    gt_boxes = [boxes[:n] for boxes, n in zip(arrays['in/gt_boxes'], arrays['in/gt_count'], strict=True)]
    ranked = top_classes(arrays['in/logits'])
    own = cams[np.arange(len(cams)), labels]
    boxes, iou = boxes_and_iou(protocol, own, gt_boxes, size)
    counts, values = evaluate(protocol, all_classes(cams), labels, ranked, gt_boxes, size)
    own_maps = [cams[np.arange(len(cams)), classes] for classes in ranked.T]
    top5_boxes = np.stack([boxes_and_iou(protocol, maps, gt_boxes, size)[0] for maps in own_maps], 1)
    best_gt = [box_iou(box, gt, inclusive=True)[0].argmax() for box, gt in zip(boxes, gt_boxes, strict=True)]
    top1, top5 = ranked[:, 0] == labels, (ranked == labels[:, None]).any(axis=1)
    strict = iou[:, 0] > 0.5
    results = [
        equal('top5_class', ranked, arrays['out/top5_class']),
        equal('gt_class_box', boxes[:, 0], arrays['out/gt_class_box']),
        equal('top5_box', top5_boxes[:, :, 0], arrays['out/top5_box']),
        equal('gt_class_iou', iou[:, 0], arrays['out/gt_class_iou']),
        equal('gt_class_best_gt', best_gt, arrays['out/gt_class_best_gt']),
        equal('cls_top1', top1, arrays['out/cls_top1']),
        equal('cls_top5', top5, arrays['out/cls_top5']),
        equal('loc_top1', top1 & strict, arrays['out/loc_top1']),
        equal('loc_top5', top5 & strict, arrays['out/loc_top5']),
        equal('loc_gt_known', iou[:, 0] >= 0.5, arrays['out/loc_gt_known']),
    ]
    for name, official in (
        ('Top-1_Loc', 'loc_top1'),
        ('Top-5_Loc', 'loc_top5'),
        ('GT-known_Loc', 'loc_gt_known'),
    ):
        results.append(close(f'metrics {name}', values[name], 100 * meta['metrics'][official], 1e-9))
    for k in (1, 5):
        expected = 100 * meta['metrics'][f'cls_top{k}']
        results.append(close(f'metrics Top-{k}_Cls', accuracy(labels, ranked, k), expected, 1e-9))
    official = ('right', 'cls_wrong', 'multi_instance', 'part', 'more', 'loc_wrong')
    results.append(equal('counts', counts.outcomes, [meta['counts'][f'top1_{name}'] for name in official]))
    for index, name in enumerate(official):
        flags = arrays[f'out/top1_{name}']
        results.append(equal(f'top1_{name}', counts.outcomes[index], flags.sum()))
    for key, make in (('gt_map_resized', lambda m: m), ('gt_map_uint8', quantize)):
        expected = arrays[f'out/{key}']
        for index, wanted in enumerate(expected):
            try:
                found = make(score_map(own[index], size, protocol))
            except ConstantMapError:
                found = np.full(size, np.nan) if wanted.dtype.kind == 'f' else np.zeros(size, np.uint8)
            tolerance = 1e-5 if wanted.dtype.kind == 'f' else 0.0
            results.append(close(f'{key}[{index}]', found, wanted, tolerance))
    return results


@checks('scm', is_postprocess)
def check_scm(case: Case) -> list[Comparison]:
    """SCM: boxes and IoU of the top-5 maps at all thresholds, counts and the metric list."""
    arrays, meta, size = case.arrays, case.meta, size_of(case)
    interval = meta['cam_curve_interval']
    protocol = get_protocol(
        'scm',
        thresholds=np.arange(0, 1, interval),
        contours='all' if meta['multi_contour_eval'] else 'largest',
    )
    maps, labels = arrays['in/maps'], arrays['in/label']
    gt_boxes = [boxes[:n] for boxes, n in zip(arrays['in/gt_boxes'], arrays['in/n_gt'], strict=True)]
    ranked = top_classes(arrays['in/logits'])
    results = [equal('top5', ranked, arrays['out/top5'])]
    per_rank = [
        [localization_map_iou(maps[i, c], gt_boxes[i], size, protocol) for c in classes]
        for i, classes in enumerate(ranked)
    ]
    iou = np.array([[result.iou for result in sample] for sample in per_rank])
    results.append(close('best_iou', iou, arrays['out/best_iou'], 1e-9))
    if 'out/boxes' in arrays:
        boxes = np.array([[result.boxes for result in sample] for sample in per_rank])
        results.append(equal('boxes', boxes, arrays['out/boxes']))
    counts, values = evaluate(protocol, all_classes(maps), labels, ranked, gt_boxes, size)
    accuracies = {f'cls_acc_top-{k}': accuracy(labels, ranked, k) for k in (1, 5)}
    results += scm_counts(counts, protocol, arrays, '')
    results += [
        close(name, (values | accuracies)[name], value, 1e-9) for name, value in meta['results'].items()
    ]
    shares = [len(labels) * accuracies[f'cls_acc_top-{k}'] / 100 for k in (1, 5)]
    results.append(close('cls_correct', shares, arrays['out/cls_correct'], 1e-9))
    results += [
        equal(f'scoremap[{i}]', quantize(score_map(maps[i, ranked[i, 0]], size, protocol)), wanted)
        for i, wanted in enumerate(arrays['out/scoremap_top1_first4'])
    ]
    if 'fixed_threshold' in meta:
        fixed = get_protocol(
            'scm', thresholds=(meta['fixed_threshold']['opt_thred'],), contours=protocol.contours
        )
        counts, values = evaluate(fixed, all_classes(maps), labels, ranked, gt_boxes, size)
        results += scm_counts(counts, fixed, arrays, 'fixed_')
        for name, value in meta['fixed_threshold']['results'].items():
            # The reference prints the index into its list of one threshold, this library the threshold.
            expected = meta['fixed_threshold']['opt_thred'] if 'optThred' in name else value
            results.append(close(f'fixed {name}', (values | accuracies)[name], expected, 1e-9))
    results.append(constant_map_raises(protocol, size))
    return results


def scm_counts(
    counts: ProtocolCounts, protocol: LocalizationProtocol, arrays: Mapping[str, NDArray], prefix: str
) -> list[Comparison]:
    results = []
    for i, level in enumerate(protocol.iou_levels):
        percent = round(100 * level)
        results.append(
            equal(f'{prefix}det_{percent}', counts.known[:, i], arrays[f'out/{prefix}det_correct_{percent}'])
        )
        results.append(
            equal(
                f'{prefix}loc_{percent}', counts.located[:, i], arrays[f'out/{prefix}loc_correct_{percent}']
            )
        )
    return results


def constant_map_raises(protocol: LocalizationProtocol, size: tuple[int, int]) -> Comparison:
    try:
        score_map(np.ones((14, 14), np.float32), size, protocol)
    except ConstantMapError:
        return Comparison('constant map raises', 0.0, 0.0)
    return Comparison('constant map raises', 1.0, 0.0)


@checks('sat', is_postprocess)
def check_sat(case: Case) -> list[Comparison]:
    """SAT: boxes and IoU per threshold, all metrics, ten-crop classification."""
    arrays, size = case.arrays, size_of(case)
    maps, labels, offsets = arrays['in/maps'], arrays['in/label'], arrays['in/gt_offsets']
    gt_boxes = [arrays['in/gt_boxes'][a:b] for a, b in zip(offsets, offsets[1:], strict=False)]
    scores = arrays['in/logits']
    if 'in/tencrop_logits' in arrays:
        scores = mean_scores(torch.from_numpy(arrays['in/tencrop_logits'])).numpy()
    ranked = top_classes(scores)
    thresholds = arrays['in/thresholds']
    protocol = get_protocol('sat', thresholds=thresholds)
    boxes, iou = boxes_and_iou(protocol, maps, gt_boxes, size)
    agnostic = [MapsByClass(loc_map[None], np.array([-1])) for loc_map in maps]
    counts, values = evaluate(protocol, agnostic, labels, ranked, gt_boxes, size)
    top1, top5 = ranked[:, 0] == labels, (ranked == labels[:, None]).any(axis=1)
    images = len(labels)
    levels = [100 * counts.known[0, i] / images for i in range(3)]
    best = int(np.flatnonzero(thresholds == values['threshold'])[0])
    expected = arrays['out/norm_map_first8']
    step = -(-size[0] // expected.shape[-1])
    sub = [score_map(loc_map, size, protocol)[::step, ::step] for loc_map in maps[: len(expected)]]
    return [
        equal('boxes', boxes.transpose(1, 0, 2), arrays['out/boxes']),
        close('iou', iou.T, arrays['out/iou'], 1e-6),
        equal('top1_correct', top1, arrays['out/top1_correct']),
        equal('top5_correct', top5, arrays['out/top5_correct']),
        close('gt_known', levels[1], arrays['out/gt_known'], 1e-6),
        close('top1_loc', 100 * counts.located[0, 1] / images, arrays['out/top1_loc'], 1e-6),
        close('top5_loc', 100 * counts.located[1, 1] / images, arrays['out/top5_loc'], 1e-6),
        *[
            close(f'iou{d}', level, arrays[f'out/iou{d}'], 1e-6)
            for d, level in zip((30, 50, 70), levels, strict=True)
        ],
        close('mean_iou_acc', np.mean(levels, axis=0), arrays['out/mean_iou_acc'], 1e-6),
        close('cls_top1', accuracy(labels, ranked, 1), arrays['out/cls_top1'], 1e-6),
        close('cls_top5', accuracy(labels, ranked, 5), arrays['out/cls_top5'], 1e-6),
        equal('best_threshold_index', best, arrays['out/best_threshold_index']),
        close('reported_top1_loc', values['Top-1_Loc'], arrays['out/reported_top1_loc'], 1e-6),
        close('reported_gt_known', values['GT-known_Loc_agnostic'], arrays['out/reported_gt_known'], 1e-6),
        close('reported_threshold', values['threshold'], arrays['out/reported_threshold'], 0.0),
        close('IoU_mean', values['IoU_mean'], arrays['out/mean_iou_acc'][best], 1e-6),
        close('norm_map_first8', np.stack(sub), expected, 1e-5),
    ]


@checks('lctr', is_postprocess)
def check_lctr(case: Case) -> list[Comparison]:
    """LCTR: fused maps from class maps and RPAM maps, boxes, IoU and metrics."""
    arrays, meta, size = case.arrays, case.meta, size_of(case)
    protocol = get_protocol('lctr', thresholds=(meta['threshold'],))
    class_maps, labels = torch.from_numpy(arrays['in/cdm']), arrays['in/label']
    logits = F.avg_pool2d(class_maps, 3, stride=1, padding=1).mean(dim=(2, 3)).numpy()
    ranked = top_classes(logits)
    relational = torch.from_numpy(arrays['in/rpam_layers']).mean(dim=1, keepdim=True)
    fused = (relational * class_maps.relu()).numpy()
    own = fused[np.arange(len(fused)), ranked[:, 0]]
    gt_boxes = list(arrays['in/gt_box'][:, None])
    boxes, iou = boxes_and_iou(protocol, own, gt_boxes, size)
    _, values = evaluate(protocol, all_classes(fused), labels, ranked, gt_boxes, size)
    expected = arrays['out/fused']
    scale = np.abs(expected).max()
    metrics, stem = meta['metrics'], f'map{size[0]}'
    return [
        close('logits', logits, arrays['out/logits'], 1e-5),
        equal('top5', ranked, arrays['out/top5']),
        close('fused', own, expected, 1e-5 * scale),
        equal('box', boxes[:, 0], arrays['out/box']),
        close('iou', iou[:, 0], arrays['out/iou'], 1e-6),
        equal('top1_correct', ranked[:, 0] == labels, arrays['out/top1_correct']),
        equal('top5_correct', (ranked == labels[:, None]).any(axis=1), arrays['out/top5_correct']),
        *[
            close(f'{stem}[{i}]', score_map(own[i], size, protocol), wanted, 1e-5)
            for i, wanted in zip(meta[f'{stem}_samples'], arrays[f'out/{stem}_first'], strict=True)
        ],
        close('loc_top1', values['Top-1_Loc'], metrics['loc_top1'], 1e-4),
        close('loc_top5', values['Top-5_Loc'], metrics['loc_top5'], 1e-4),
        close('gt_known', values['GT-known_Loc_predicted'], metrics['gt_known'], 1e-4),
        close('cls_top1', accuracy(labels, ranked, 1), metrics['cls_top1'], 1e-4),
        close('cls_top5', accuracy(labels, ranked, 5), metrics['cls_top5'], 1e-4),
    ]


@checks('cdtr', is_postprocess)
def check_cdtr(case: Case) -> list[Comparison]:
    """CATR and CDTR: boxes, IoU and metrics at several fixed thresholds."""
    arrays, enlarged = case.arrays, case.arrays['out/resized_s8']
    size = size_of(case, 8 * enlarged.shape[-1])
    cams, labels = arrays['in/cams'], arrays['in/label']
    ranked = top_classes(arrays['in/logits'])
    own = cams[np.arange(len(cams)), ranked[:, 0]]
    gt_boxes = list(arrays['in/gt_boxes'][:, None])
    results = [equal('top1', ranked[:, 0], arrays['out/top1'])]
    for threshold in case.meta['thresholds']:
        protocol = get_protocol('cdtr', thresholds=(threshold,))
        suffix = f't{round(100 * threshold):02d}'
        boxes, iou = boxes_and_iou(protocol, own, gt_boxes, size)
        _, values = evaluate(protocol, all_classes(cams), labels, ranked, gt_boxes, size)
        fractions = [values[name] / 100 for name in ('Top-1_Loc', 'Top-5_Loc', 'GT-known_Loc_predicted')]
        fractions += [accuracy(labels, ranked, k) / 100 for k in (1, 5)]
        results += [
            equal(f'boxes_{suffix}', boxes[:, 0], arrays[f'out/boxes_{suffix}']),
            close(f'iou_{suffix}', iou[:, 0], arrays[f'out/iou_{suffix}'], 1e-9),
            close(f'metrics_{suffix}', fractions, arrays[f'out/metrics_{suffix}'], 1e-9),
        ]
    resized = []
    for loc_map in own:
        try:
            resized.append(score_map(loc_map, size, protocol)[::8, ::8])
        except ConstantMapError:
            resized.append(np.full(enlarged.shape[1:], -1.0))
    results.append(close('resized_s8', np.stack(resized), enlarged, 1e-5))
    compared = {'top1', *(result.name for result in results)}
    unknown = [name for name in arrays if name.startswith('out/') and name[4:] not in compared]
    return results + [failure(f'{name} (not checked)') for name in unknown]
