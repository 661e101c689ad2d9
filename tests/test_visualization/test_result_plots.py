from wsol_mm.evaluation.functional import OUTCOMES
from wsol_mm.visualization.result_plots import (
    plot_error_breakdown,
    plot_size_accuracy,
    plot_threshold_curves,
    wilson_interval,
)
from wsol_mm.visualization.run_statistics import RunHits

import numpy as np
import pytest


def make_run(seed=0, count=40):
    rng = np.random.default_rng(seed)
    hits = rng.random((count, 2, 5)) < np.array([0.2, 0.6, 0.9, 0.5, 0.1])
    return RunHits(np.linspace(0, 0.8, 5), (0.3, 0.5), hits, np.linspace(0, 1, count), None)


def test_curves_show_their_best_threshold():
    runs = {'one': make_run(), 'two': make_run(1)}
    axes = plot_threshold_curves(runs, [0.3, 0.5]).axes[0]
    curves = [line for line in axes.lines if len(line.get_xdata()) == 5]
    assert len(curves) == 4 and len({line.get_color() for line in curves}) == 2
    np.testing.assert_allclose(curves[1].get_ydata(), runs['one'].accuracy(0.5))
    assert f'{runs["one"].accuracy(0.5).max():.1f} at 0.4 (IoU 0.5)' in curves[1].get_label()
    marks = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert [float(mark.get_xdata()[0]) for mark in marks] == [0.4] * 4


def test_sizes_without_images_are_left_out():
    run = make_run()._replace(object_areas=np.repeat([0.02, 0.9], 20))
    figure = plot_size_accuracy({'one': run}, 0.5)
    (bars,) = figure.axes[0].containers
    hits = run.hits_at_threshold(0.5)
    np.testing.assert_allclose(bars[0].get_ydata(), [100 * hits[:20].mean(), 100 * hits[20:].mean()])
    heights = [patch.get_height() for patch in figure.axes[1].patches]
    assert (heights[0], heights[-1], sum(heights)) == (20, 20, 40)


def test_breakdown_is_stacked_to_the_whole():
    shares = dict(zip(OUTCOMES, (50, 20, 5, 10, 12, 3), strict=True))
    axes = plot_error_breakdown({'a': shares, 'b': shares}).axes[0]
    ends = [bar.get_x() + bar.get_width() for container in axes.containers for bar in container]
    assert max(ends) == 100 and [label.get_text() for label in axes.get_yticklabels()] == ['a', 'b']
    texts = {text.get_text() for text in axes.texts}
    assert {'50.0', '12.0'} <= texts and '3.0' not in texts, 'of narrow parts the number is left out'


def test_wilson_interval():
    # Values of Newcombe (1998), table I: 81/263, 15/148 and 0/20.
    share, low, high = wilson_interval(np.array([81, 15, 0]), np.array([263, 148, 20]))
    assert share == pytest.approx([0.308, 0.1014, 0], abs=5e-4)
    assert low == pytest.approx([0.2553, 0.0624, 0.0], abs=5e-4)
    assert high == pytest.approx([0.3662, 0.1605, 0.1611], abs=5e-4)
