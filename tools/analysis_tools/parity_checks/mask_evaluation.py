"""Cases ``evaluation/mask_*`` and ``evaluation/cam_normalize``: PxAP and map normalisation."""

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import (
    ConstantMapError,
    PixelHistograms,
    pixel_average_precision,
    pixel_histograms,
    quantize,
    rasterize_masks,
)
from wsol_mm.evaluation.map_boxes import score_map

import numpy as np

from . import Case, Comparison, close, equal, register


@register('evaluation', lambda case: 'in/map_image' in case.arrays)
def check_masks(case: Case) -> list[Comparison]:
    """Compare label maps, histograms and PxAP at every interval and score rule."""
    arrays = dict(case.arrays)
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


@register('evaluation', lambda case: any(name.startswith('in/cams_') for name in case.arrays))
def check_normalisation(case: Case) -> list[Comparison]:
    """Compare enlarged and normalised class maps."""
    arrays = dict(case.arrays)
    protocol = get_protocol('maxboxacc')
    size = protocol.frame_size, protocol.frame_size
    results = []
    for key in [name.removeprefix('in/') for name in arrays if name.startswith('in/cams_')]:
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


def _numbered(arrays: dict[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    count = sum(name.startswith(prefix) for name in arrays)
    return [arrays[f'{prefix}{index}'] for index in range(count)]


def _scores(codes: np.ndarray, rule: str) -> np.ndarray:
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
