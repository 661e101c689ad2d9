"""Plots that compare runs: accuracy against threshold and object size, and the error breakdown."""

from collections.abc import Mapping, Sequence

from wsol_mm.evaluation.functional import OUTCOMES

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .run_statistics import RunHits

# Okabe and Ito's colours, which people with colour-vision deficiencies can tell apart.
_COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
_MARKERS = 'osD^vPX'
_DASHES = ('-', '--', ':', '-.')
_OUTCOME_STYLE = {
    'correct': ('#009E73', 'correct'),
    'classification': ('#999999', 'wrong class'),
    'multi_instance': ('#CC79A7', 'several objects'),
    'part': ('#E69F00', 'part'),
    'more': ('#56B4E9', 'more than the object'),
    'other': ('#000000', 'other'),
}
#: Edges of the bins of object areas, as shares of the image.
AREA_EDGES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


def plot_threshold_curves(runs: Mapping[str, RunHits], levels: Sequence[float]) -> Figure:
    """Plot box accuracy against the threshold, with a mark at the threshold that counts.

    Args:
        runs: Runs by label.
        levels: IoU levels, at most four: one kind of line each.

    Returns:
        The figure.
    """
    figure, axes = _axes((6.4, 4.2))
    for index, (label, run) in enumerate(runs.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        for dashes, level in zip(_DASHES, levels, strict=False):
            accuracy = run.accuracy(level)
            best = run.threshold_index(level)
            text = f'{label}: {accuracy[best]:.1f} at {run.thresholds[best]:.3g}'
            text += f' (IoU {level:g})' if len(levels) > 1 else ''
            axes.plot(run.thresholds, accuracy, dashes, color=colour, linewidth=1.6, label=text)
            axes.plot(
                run.thresholds[best],
                accuracy[best],
                _MARKERS[index % len(_MARKERS)],
                color=colour,
                markeredgecolor='white',
                markersize=8,
                zorder=3,
            )
    axes.set(xlim=(0, 1), ylim=(0, 102), xlabel='threshold')
    axes.set_ylabel(f'boxes with IoU ≥ {levels[0]:g} (%)' if len(levels) == 1 else 'right boxes (%)')
    _legend_below(figure, axes)
    return figure


def plot_size_accuracy(runs: Mapping[str, RunHits], level: float) -> Figure:
    """Plot box accuracy against the size of the object, above the number of images of each size.

    Bars show the 95 % interval of a share (Wilson). Sizes without images are left out.

    Args:
        runs: Runs by label.
        level: IoU level.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(6.4, 4.8), layout='constrained', dpi=150)
    axes, counts_axes = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    edges = np.array(AREA_EDGES)
    positions = np.arange(len(edges) - 1)
    spread = 0.12
    for index, (label, run) in enumerate(runs.items()):
        hits = run.hits_at_threshold(level)
        bins = np.clip(np.digitize(run.object_areas, edges) - 1, 0, len(positions) - 1)
        counts = np.bincount(bins, minlength=len(positions))
        right = np.bincount(bins, weights=hits, minlength=len(positions))
        filled = counts > 0
        share, low, high = wilson_interval(right[filled], counts[filled])
        offset = spread * (index - (len(runs) - 1) / 2)
        threshold = run.thresholds[run.threshold_index(level)]
        axes.errorbar(
            positions[filled] + offset,
            100 * share,
            yerr=100 * np.stack([share - low, high - share]),
            fmt=f'{_MARKERS[index % len(_MARKERS)]}-',
            color=_COLOURS[index % len(_COLOURS)],
            linewidth=1.4,
            elinewidth=1,
            markersize=5,
            label=f'{label}: {100 * hits.mean():.1f} in all, threshold {threshold:.3g}',
        )
    _clean(axes)
    _clean(counts_axes)
    axes.set(ylim=(0, 102), ylabel=f'boxes with IoU ≥ {level:g} (%)')
    # The runs are of one test set: the sizes of the last are those of all.
    bars = counts_axes.bar(positions, counts, color='#BBBBBB', width=0.7)
    counts_axes.bar_label(bars, fontsize=8, padding=1)
    counts_axes.set(ylim=(0, 1.35 * max(counts.max(), 1)), ylabel='images', yticks=[])
    counts_axes.set_xticks(
        positions, [f'{100 * a:g}–{100 * b:g}' for a, b in zip(edges[:-1], edges[1:], strict=True)]
    )
    counts_axes.set_xlabel('area of the object, % of the image')
    _legend_below(figure, axes)
    return figure


def plot_error_breakdown(runs: Mapping[str, Mapping[str, float]]) -> Figure:
    """Plot the outcomes of the top-1 prediction as one stacked bar for each run.

    Args:
        runs: Shares of the outcomes of ``OUTCOMES`` in percent, by the label of the run.

    Returns:
        The figure.
    """
    figure, axes = _axes((7.2, 1.6 + 0.45 * len(runs)))
    left = np.zeros(len(runs))
    positions = np.arange(len(runs))
    for outcome in OUTCOMES:
        colour, name = _OUTCOME_STYLE[outcome]
        shares = np.array([run[outcome] for run in runs.values()])
        bars = axes.barh(
            positions, shares, left=left, color=colour, edgecolor='white', height=0.7, label=name
        )
        # Of narrower parts the number would not fit.
        texts = [f'{share:.1f}' if share >= 4 else '' for share in shares]
        light = outcome in ('correct', 'other')
        axes.bar_label(bars, texts, label_type='center', fontsize=8, color='white' if light else 'black')
        left += shares
    axes.set_yticks(positions, list(runs))
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel='test images (%)')
    axes.grid(False)
    _legend_below(figure, axes, columns=3)
    return figure


def wilson_interval(
    right: NDArray[np.number], total: NDArray[np.number], z: float = 1.96
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return shares and the ends of their confidence intervals (Wilson 1927), all in [0, 1].

    Args:
        right: Number of successes.
        total: Number of trials, above 0.
        z: Quantile of the normal distribution; 1.96 for 95 %.
    """
    share = np.asarray(right / total, np.float64)
    divisor = 1 + z**2 / total
    middle = (share + z**2 / (2 * total)) / divisor
    half = z / divisor * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return share, np.minimum(middle - half, share), np.maximum(middle + half, share)


def _axes(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout='constrained', dpi=150)
    axes = figure.subplots()
    _clean(axes)
    return figure, axes


def _clean(axes: Axes) -> None:
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis='y', color='#DDDDDD', linewidth=0.8)
    axes.set_axisbelow(True)


def _legend_below(figure: Figure, axes: Axes, columns: int = 2) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc='outside lower center',
        ncols=min(columns, len(labels)),
        frameon=False,
        fontsize=9,
    )
