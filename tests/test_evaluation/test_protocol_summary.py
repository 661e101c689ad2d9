"""Tests of wsol_mm.evaluation.metrics.protocol_summary."""

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.metrics import LocalizationMetric
from wsol_mm.evaluation.metrics.protocol_record import ProtocolRecord
from wsol_mm.evaluation.metrics.protocol_summary import ProtocolCounts, classes_counted, summarize
from wsol_mm.evaluation.protocols import PRESETS

import numpy as np
import pytest
from mmengine.evaluator import Evaluator

from .samples import make_sample


def test_localization_with_a_best_threshold_for_every_metric():
    protocol = get_protocol('trilite', thresholds=(0.2, 0.4, 0.6), iou_levels=(0.3, 0.5))
    hits = [  # of four images: at IoU 0.3 and 0.5, for every threshold
        [[1, 1, 1], [1, 1, 0]],
        [[1, 1, 0], [0, 1, 0]],
        [[1, 0, 0], [0, 1, 1]],
        [[1, 0, 0], [0, 0, 1]],
    ]
    packed = [np.packbits(np.array(image, np.uint8).ravel()) for image in hits]
    records = [ProtocolRecord(bits, bits, -1, 0, 'agnostic') for bits in packed]
    ranks = np.array([-1, 3, 0, 0])
    counts = ProtocolCounts.from_records(protocol, records, np.zeros(4, int), ranks)
    values, _ = summarize(protocol, counts)
    assert values == {
        'GT-known_Loc_agnostic': 75,
        'Top-1_Loc': 50,
        'threshold_Top-1_Loc': 0.6,
        'Top-5_Loc': 50,
        'threshold_Top-5_Loc': 0.4,
        'MaxBoxAcc_mean_agnostic': (100 + 75) / 2,
        'BoxAcc@0.3_agnostic': 100,
        'threshold@0.3': 0.2,
        'BoxAcc@0.5_agnostic': 75,
        'threshold@0.5': 0.4,
    }
    chosen = {
        'threshold_Top-1_Loc': 0.4,
        'threshold_Top-5_Loc': 0.2,
        'threshold@0.3': 0.6,
        'threshold@0.5': 0.2,
    }
    values, _ = summarize(protocol, counts, chosen=chosen)
    assert (values['Top-1_Loc'], values['Top-5_Loc'], values['GT-known_Loc_agnostic']) == (25, 0, 25)
    with pytest.raises(KeyError, match='trilite/threshold_Top-1_Loc'):
        summarize(protocol, counts, chosen={'threshold@0.3': 0.6, 'threshold@0.5': 0.2})


@pytest.mark.parametrize(
    ('name', 'count'),
    [
        ('Top-1_Cls', 1),
        ('prefix/Top-5_Cls', 5),
        ('ts_cam/Top-5_Loc', 5),
        ('ts_cam/error/part', 1),
        ('sat/GT-known+Top-1_Loc', 1),
        ('trilite/threshold_Top-5_Loc', 5),
        ('scm/loc_acc_thr_50.00_top-1', 1),
        ('scm/loc_optThred_thr_30.00_top-5', 5),
        ('scm/maxbox_acc_thr_50.00_top-5', 0),
        ('scm/det_optThred_thr_50.00_top-1', 0),
        ('scm/GT-Known_top-1', 0),
        ('maxboxacc_v2/BoxAcc@0.5_agnostic', 0),
        ('ts_cam/GT-known_Loc', 0),
    ],
)
def test_how_many_predicted_classes_a_metric_counts(name, count):
    assert classes_counted(name) == count


def test_metrics_that_count_no_class_are_those_that_predictions_do_not_change():
    """Under all protocols, with a map that serves all classes."""
    rng = np.random.default_rng(0)
    samples = [
        make_sample({-1: rng.random((7, 7), np.float32)}, [3, 2, 4, 0, 5], 1 + i % 3, [[5, 5, 40, 45]])
        for i in range(40)
    ]
    values = [
        Evaluator(LocalizationMetric(list(PRESETS))).offline_evaluate(
            [{**sample, 'pred_topk': np.array(ranked)} for sample in samples]
        )
        for ranked in ([-1], [3, 2, 4, 0, 5], [1, 2, 3, 4, 5])
    ]
    changed = {name for name, value in values[0].items() if any(other[name] != value for other in values[1:])}
    counting = {name for name in values[0] if classes_counted(name)}
    assert changed <= counting
    assert {name for name in counting if name.endswith(('_Cls', '_Loc'))} & changed
