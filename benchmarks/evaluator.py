"""Measure the all-thresholds region finder against the straightforward loop over thresholds.

Both go from a float64 score map in [0, 1] to the box of the largest contour at every threshold ('single')
or to the boxes of all contours at every threshold ('multi'), on one core; the loop makes one mask and calls
``cv2.findContours`` once per threshold. Their results are compared on every map. Times are CPU times of this
process, the loop over all maps of a group and then the region finder over all of them; a cell is the mean
over the maps, the median over the repeats.

    python -m benchmarks.evaluator --check
    python -m benchmarks.evaluator --maps my_maps.npz
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from wsol_mm.cli.argument_types import integer_within
from wsol_mm.evaluation.functional.regions import Regions, all_regions, largest_regions
from wsol_mm.evaluation.functional.thresholding import integer_thresholds, level_image, quantize

import cv2
import numpy as np

from . import threshold_loop

SIZE = 224
GROUPS = {
    'smooth': ('cam7', 'cam14', 'cam28_relu', 'gt_like', 'blobs', 'border'),
    'ragged': ('rings', 'blocks', 'diag', 'stripes'),
    'noise': ('noise',),
}
# Least ratio of the loop's time to the region finder's, by group and step of the grid.
TARGETS = {('smooth', 0.01): 1.5, ('smooth', 0.001): 10, ('ragged', 0.01): 10, ('ragged', 0.001): 80}


def _unit(image: np.ndarray) -> np.ndarray:
    """Min-max normalised float64 copy."""
    image = image.astype(np.float64)
    return (image - image.min()) / (image.max() - image.min())


def _blob(rng: np.random.Generator, sigma: tuple[float, float], margin: float) -> np.ndarray:
    """An elliptic, turned Gaussian with its centre at least ``margin`` sides away from the edges."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    x0, y0 = rng.uniform(margin * SIZE, (1 - margin) * SIZE, 2)
    angle = rng.uniform(0, np.pi)
    along, across = rng.uniform(*sigma, 2)
    u = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
    v = (y - y0) * np.cos(angle) - (x - x0) * np.sin(angle)
    return np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2))


def _upsampled(coarse: np.ndarray) -> np.ndarray:
    return cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)


def make_map(kind: str, rng: np.random.Generator) -> np.ndarray:
    """One synthetic score map.

    Args:
        kind: ``cam7``, ``cam14``: random maps of 7x7 and 14x14 enlarged as class activation maps are;
            ``cam28_relu``: 28x28 with the lower half cut off; ``gt_like``: one blob over a weak map;
            ``blobs``: some Gaussians on zero; ``border``: Gaussians cut by the edges; ``rings``,
            ``blocks``, ``diag``, ``stripes``: concentric rings, random squares, diagonal lines a pixel
            wide, broken stripes; ``noise``: independent pixels.
        rng: Random numbers.

    Returns:
        (224, 224) float64 in [0, 1].
    """
    y, x = np.mgrid[:SIZE, :SIZE]
    if kind in ('cam7', 'cam14'):
        side = int(kind[3:])
        return _unit(_upsampled(cv2.GaussianBlur(rng.random((side, side)), (3, 3), 0)))
    if kind == 'cam28_relu':
        coarse = cv2.GaussianBlur(rng.random((28, 28)), (7, 7), 0)
        return _unit(_upsampled(np.maximum(coarse - np.median(coarse), 0)))
    if kind == 'gt_like':
        return _unit(_blob(rng, (30, 60), 0.3) + 0.3 * _upsampled(rng.random((7, 7))))
    if kind == 'blobs':
        blobs = [rng.uniform(0.4, 1) * _blob(rng, (10, 30), 0.15) for _ in range(rng.integers(2, 6))]
        image = np.max(blobs, axis=0)
        return _unit(np.where(image > 0.02, image, 0))
    if kind == 'border':
        return _unit(_blob(rng, (25, 50), 0) + 0.7 * _blob(rng, (25, 50), 0))
    if kind == 'rings':
        image = np.zeros((SIZE, SIZE))
        for _ in range(rng.integers(1, 4)):
            x0, y0 = rng.uniform(50, SIZE - 50, 2)
            radius = np.hypot(x - x0, y - y0)
            inside = (radius < rng.uniform(25, 80)) & (radius % rng.uniform(10, 20) < rng.uniform(2, 5))
            image = np.maximum(image, inside * rng.uniform(0.2, 1) * (1 - radius / 400))
        return _unit(image)
    if kind == 'blocks':
        side = int(rng.choice([14, 16, 28]))
        coarse = rng.random((SIZE // side, SIZE // side))
        return _unit(np.kron(np.where(coarse > 0.3, coarse, 0), np.ones((side, side))))
    if kind == 'diag':
        lines = (x + y) % int(rng.integers(10, 20)) == 0
        return _unit(lines * (0.2 + _blob(rng, (40, 90), 0.2)))
    if kind == 'stripes':
        period = int(rng.integers(6, 12))
        level = rng.random(SIZE)[x // period] * (rng.random(SIZE)[y // 8] > 0.2)
        return _unit(np.where(x % period < period // 2, level, 0))
    if kind == 'noise':
        return _unit(rng.random((SIZE, SIZE)))
    raise ValueError(f'kind: expected one of {sorted(sum(GROUPS.values(), ()))}, got {kind!r}')


def load_maps(path: Path) -> list[tuple[str, np.ndarray]]:
    """Kinds and score maps of an NPZ file.

    Args:
        path: File with ``maps`` (or ``in/maps``), (N, H, W), floats in [0, 1] or uint8 codes, and optionally
            ``kind`` (or ``in/kind``), (N,) names; kinds that :data:`GROUPS` does not know form the group
            'other'.

    Returns:
        Kind ('other' where the file has none) and (H, W) float64 of every map.

    Raises:
        ValueError: No such array in the file, or one of another shape or type.
    """
    with np.load(path) as file:
        arrays = {
            name.removeprefix('in/'): file[name]
            for name in ('in/maps', 'in/kind', 'maps', 'kind')
            if name in file
        }
    if 'maps' not in arrays:
        raise ValueError(f'{path}: expected an array named maps or in/maps, got {sorted(arrays)}')
    maps = arrays['maps']
    if maps.ndim != 3 or maps.dtype not in (np.uint8, np.float32, np.float64):
        raise ValueError(
            f'{path}: expected maps (N, H, W) of uint8 or floats in [0, 1], got {maps.dtype} {maps.shape}'
        )
    kinds = arrays.get('kind', np.full(len(maps), 'other'))
    return [
        (str(kind), image / 255.0 if image.dtype == np.uint8 else image.astype(np.float64))
        for kind, image in zip(kinds, maps, strict=True)
    ]


def grouped(maps: list[tuple[str, np.ndarray]], by_kind: bool) -> dict[str, list[np.ndarray]]:
    """Maps by kind, or by the group of :data:`GROUPS` their kind belongs to ('other' for an unknown kind)."""
    group_of = {kind: group for group, kinds in GROUPS.items() for kind in kinds}
    groups: dict[str, list[np.ndarray]] = {}
    for kind, score_map in maps:
        groups.setdefault(kind if by_kind else group_of.get(kind, 'other'), []).append(score_map)
    return groups if by_kind else {name: groups[name] for name in (*GROUPS, 'other') if name in groups}


def loop_single(score_map: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(T, 4) boxes by the loop."""
    return threshold_loop.largest_contour_boxes(_loop_masks(score_map, thresholds))


def loop_multi(score_map: np.ndarray, thresholds: np.ndarray) -> list[list[tuple[int, int, int, int]]]:
    """All boxes at every threshold by the loop."""
    return threshold_loop.all_contour_boxes(_loop_masks(score_map, thresholds))


def _loop_masks(score_map: np.ndarray, thresholds: np.ndarray) -> Iterator[np.ndarray]:
    return threshold_loop.threshold_masks((score_map * 255).astype(np.uint8), thresholds)


def fast_single(score_map: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(T, 4) boxes by the region finder."""
    levels, num_levels, index = _levels(score_map, thresholds)
    return largest_regions(levels, num_levels)[index]


def fast_multi(score_map: np.ndarray, thresholds: np.ndarray) -> tuple[Regions, np.ndarray]:
    """All regions over their ranges of levels, and the level of every threshold, by the region finder."""
    levels, num_levels, index = _levels(score_map, thresholds)
    return all_regions(levels, num_levels), index


def _levels(score_map: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    codes = quantize(score_map)
    return level_image(codes, integer_thresholds(thresholds, codes.max()))


def same_multi(loop: list[list[tuple[int, int, int, int]]], fast: tuple[Regions, np.ndarray]) -> bool:
    """Equal multisets of boxes at every threshold."""
    regions, index = fast
    previous = None
    for boxes, level in zip(loop, index.tolist(), strict=True):
        if level != previous:
            here = (regions.first_level <= level) & (level <= regions.last_level)
            found = sorted(map(tuple, regions.boxes[here].tolist()))
            previous = level
        if sorted(boxes) != found:
            return False
    return True


def _timed(function: Callable, *args: Any) -> tuple[float, object]:
    """CPU milliseconds of this process, and the result."""
    start = time.process_time_ns()
    result = function(*args)
    return (time.process_time_ns() - start) * 1e-6, result


def measure(maps: list[np.ndarray], step: float, contours: str, repeats: int) -> tuple[float, float, int]:
    """Mean milliseconds per map of the loop and of the region finder, and the number of maps that differ."""
    thresholds = np.arange(0, 1, step)
    loop, fast, same = {
        'single': (loop_single, fast_single, np.array_equal),
        'multi': (loop_multi, fast_multi, same_multi),
    }[contours]
    loop_times, fast_times, wrong = [], [], set()
    for _ in range(repeats):
        # All maps by the one, then all by the other: neither finds a map in the caches.
        loop_runs = [_timed(loop, score_map, thresholds) for score_map in maps]
        fast_runs = [_timed(fast, score_map, thresholds) for score_map in maps]
        loop_times.append(statistics.mean(milliseconds for milliseconds, _ in loop_runs))
        fast_times.append(statistics.mean(milliseconds for milliseconds, _ in fast_runs))
        results = zip(loop_runs, fast_runs, strict=True)
        wrong |= {i for i, ((_, expected), (_, found)) in enumerate(results) if not same(expected, found)}
    return statistics.median(loop_times), statistics.median(fast_times), len(wrong)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 if results differ, or with ``--check`` if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--maps', type=Path, help='NPZ file with maps (N, H, W) instead of generated ones')
    parser.add_argument(
        '--per-kind', type=integer_within(1), default=3, help='generated maps of each kind (default 3)'
    )
    parser.add_argument(
        '--limit', type=integer_within(1), help='use at most this many maps of each group, evenly spaced'
    )
    parser.add_argument(
        '--repeats', type=integer_within(1), default=3, help='timed runs of each map (default 3)'
    )
    parser.add_argument(
        '--steps', type=float, nargs='+', default=[0.01, 0.001], help='steps of the threshold grid'
    )
    parser.add_argument('--by-kind', action='store_true', help='a row per kind of map; no targets')
    parser.add_argument('--groups', nargs='+', metavar='NAME', help='only the rows of these names')
    parser.add_argument('--seed', type=int, default=0, help='seed of the generated maps')
    parser.add_argument('--check', action='store_true', help='exit with 1 when a ratio is below its target')
    args = parser.parse_args(arguments)

    cv2.setNumThreads(1)
    rng = np.random.default_rng(args.seed)
    kinds = [kind for names in GROUPS.values() for kind in names for _ in range(args.per_kind)]
    maps = load_maps(args.maps) if args.maps else [(kind, make_map(kind, rng)) for kind in kinds]
    groups = grouped(maps, args.by_kind)
    for name in args.groups or ():
        if name not in groups:
            parser.error(f'argument --groups: expected some of {", ".join(groups)}, got {name!r}')
    start = time.perf_counter()
    for warm_up in (fast_single, fast_multi):
        warm_up(make_map('noise', np.random.default_rng(0)), np.arange(0, 1, 0.1))
    print(f'first calls (compile or load the compiled kernels): {time.perf_counter() - start:.1f} s')

    columns = ('maps', 'number', 'step', 'contours', 'loop ms', 'ours ms', 'ratio', 'target')
    print('{:10}{:>7}{:>8}  {:8}{:>10}{:>10}{:>8}{:>8}'.format(*columns))
    missed = different = 0
    for group, maps in groups.items():
        if args.groups and group not in args.groups:
            continue
        if args.limit and len(maps) > args.limit:
            maps = [maps[i] for i in np.linspace(0, len(maps) - 1, args.limit).round().astype(int)]
        for step in args.steps:
            for contours in ('single', 'multi'):
                # One run of the loop on noise takes seconds.
                repeats = 1 if group == 'noise' else args.repeats
                loop, fast, wrong = measure(maps, step, contours, repeats)
                target = TARGETS.get((group, step))
                missed += target is not None and loop / fast < target
                different += wrong
                print(
                    f'{group:10}{len(maps):7}{step:8}  {contours:8}{loop:10.2f}{fast:10.3f}{loop / fast:8.1f}'
                    f'{target or "-":>8}{f"  {wrong} MAPS DIFFER" if wrong else ""}',
                    flush=True,
                )
    print('results: ' + (f'{different} differ' if different else 'equal on every map at every threshold'))
    if missed:
        print(f'{missed} ratios are below their targets')
    return int(bool(different or (args.check and missed)))


if __name__ == '__main__':
    sys.exit(main())
