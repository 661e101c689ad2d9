"""Tests of wsol_mm.evaluation.metrics.protocol_summary."""

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.metrics.protocol_record import ProtocolRecord
from wsol_mm.evaluation.metrics.protocol_summary import ProtocolCounts, summarize

import numpy as np
import pytest


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
