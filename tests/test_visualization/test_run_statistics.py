"""The numbers of the plots are those of the metric."""

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import OUTCOMES
from wsol_mm.evaluation.metrics import LocalizationMetric
from wsol_mm.visualization.run_statistics import outcome_shares, run_hits

import numpy as np
import pytest

SIDE = 96


def make_samples(count=12, agnostic=False):
    rng = np.random.default_rng(0)
    samples = []
    for index in range(count):
        maps = rng.random((1 if agnostic else 3, 6, 6)).astype(np.float32) ** 2
        maps[:, 1:4, 1 : 3 + index % 3] += 1
        samples.append(
            dict(
                gt_label=np.array([index % 3]),
                pred_topk=rng.permutation(3),
                loc_maps=maps,
                loc_labels=np.array([-1]) if agnostic else np.arange(3),
                gt_bboxes=np.array([[10.0, 12, 40 + index, 60]]),
                ori_shape=(SIDE, 2 * SIDE),
                img_shape=(SIDE, SIDE),
                scale_factor=(0.5, 1.0),
            )
        )
    return samples


def metrics(samples, *protocols):
    metric = LocalizationMetric(protocols)
    metric.process({}, samples)
    return metric.compute_metrics(metric.results)


@pytest.mark.parametrize('agnostic', [False, True])
def test_searched_threshold_is_that_of_the_metric(agnostic):
    samples = make_samples(agnostic=agnostic)
    values = metrics(samples, 'maxboxacc')
    run = run_hits(samples, get_protocol('maxboxacc'), [0.3, 0.5])
    suffix = '_agnostic' if agnostic else ''
    index = run.threshold_index(0.5)
    assert run.accuracy(0.5)[index] == pytest.approx(values[f'maxboxacc/MaxBoxAcc{suffix}'])
    assert run.thresholds[index] == values['maxboxacc/threshold']
    assert 100 * run.hits_at_threshold(0.5).mean() == pytest.approx(run.accuracy(0.5)[index])
    assert (run.accuracy(0.3) >= run.accuracy(0.5)).all()
    with pytest.raises(ValueError, match='level: expected an IoU level that is counted, .*, got 0.7'):
        run.accuracy(0.7)


@pytest.mark.parametrize('name', ['ts_cam', 'sat', 'lctr', 'cdtr'])
def test_fixed_threshold_is_kept(name):
    samples = make_samples()
    values = metrics(samples, name)
    suffix = '_predicted' if name in ('lctr', 'cdtr') else ''
    run = run_hits(samples, get_protocol(name), [0.5])
    assert run.thresholds[run.threshold_index(0.5)] == get_protocol(name).thresholds[0]
    at_threshold = run.accuracy(0.5)[run.threshold_index(0.5)]
    assert at_threshold == pytest.approx(values[f'{name}/GT-known_Loc{suffix}'])


def test_ranked_maps_count_for_the_predicted_class():
    samples = make_samples()
    run = run_hits(samples, get_protocol('scm'), [0.5])
    best = run.accuracy(0.5).max()
    assert best == pytest.approx(metrics(samples, 'scm')['scm/GT-Known_top-1'])


def test_areas_are_shares_of_the_image_and_images_without_boxes_are_left_out():
    samples = make_samples(3)
    samples[1]['gt_bboxes'] = np.array([[0, 0, SIDE, SIDE], [0, 0, 2 * SIDE, SIDE / 4]])
    samples.append({**samples[0], 'gt_bboxes': np.zeros((0, 4))})
    run = run_hits(samples, get_protocol('ts_cam'), [0.5])
    assert run.object_areas.tolist() == [30 * 48 / (2 * SIDE**2), 0.5, 32 * 48 / (2 * SIDE**2)]
    with pytest.raises(ValueError, match='samples: expected images with ground-truth boxes, got 1 without'):
        run_hits(samples[-1:], get_protocol('ts_cam'), [0.5])


def test_outcomes_are_those_of_the_metric():
    samples = make_samples()
    values = metrics(samples, dict(name='ts_cam', thresholds=[0.4]))
    shares = outcome_shares(samples, get_protocol('ts_cam'), 0.4)
    assert shares == {name: pytest.approx(values[f'ts_cam/error/{name}']) for name in OUTCOMES}
    assert sum(shares.values()) == pytest.approx(100)
    with pytest.raises(ValueError, match='error_breakdown: expected one threshold'):
        outcome_shares(samples, get_protocol('lctr'))
