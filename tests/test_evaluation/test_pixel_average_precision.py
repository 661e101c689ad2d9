from wsol_mm.evaluation.metrics import PixelAveragePrecision

import numpy as np
import pytest

from .samples import SIDE, block_map, make_sample

PROTOCOL = dict(name='maxboxacc', interpolation='bilinear', frame_size=None)


def evaluate(samples, num_eval_workers=0):
    metric = PixelAveragePrecision(0.1, PROTOCOL, num_eval_workers)
    metric.dataset_meta = {}
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_values():
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[10:40, 10:40] = 1
    mask[0] = 255
    perfect = make_sample({1: block_map(10, 10, 40, 40)}, [1], 1, gt_mask=mask)
    values = evaluate([perfect])
    assert values['pixel/PxAP'] == pytest.approx(100)
    assert values['pixel/PxIoU'] == 100
    constant = make_sample({1: np.ones((7, 7), np.float32)}, [1], 1, gt_mask=mask)
    share = 900 / (SIDE * SIDE - SIDE)
    assert evaluate([constant])['pixel/PxAP'] == pytest.approx(100 * share)
    # both images together: 900 true pixels at score 1, then everything of the other at score 0
    both = evaluate([perfect, constant])['pixel/PxAP']
    valid = SIDE * SIDE - SIDE
    assert both == pytest.approx(100 * (0.5 * 1 + 0.5 * 1800 / (2 * valid)))


def test_any_number_of_processes():
    rng = np.random.default_rng(0)
    samples = [
        make_sample(
            {1: rng.random((7, 7), np.float32)}, [1], 1, gt_mask=rng.integers(0, 2, (SIDE, SIDE), np.uint8)
        )
        for _ in range(5)
    ]
    expected = evaluate(samples)
    assert 0 < expected['pixel/PxAP'] < 100
    assert all(evaluate(samples, workers) == expected for workers in (1, 2))
    with pytest.raises(KeyError, match="a.png: data sample: expected 'gt_mask'"):
        evaluate([*samples, make_sample({1: block_map(1, 1, 5, 5)}, [1], 1, img_path='a.png')], 2)


def test_errors():
    with pytest.raises(ValueError, match='num_eval_workers: expected an integer from 0, got -1'):
        PixelAveragePrecision(num_eval_workers=-1)
    with pytest.raises(KeyError, match='gt_mask'):
        evaluate([make_sample({1: block_map(1, 1, 5, 5)}, [1], 1)])
    with pytest.raises(ValueError, match='interval'):
        PixelAveragePrecision(interval=0)
    sample = make_sample({1: block_map(1, 1, 5, 5)}, [1], 1, gt_mask=np.ones((SIDE, SIDE + 2), np.uint8))
    options = r'LoadLocalizationMask\(size=.*or .*LoadLocalizationMask\(size=None\).*frame_size=None'
    with pytest.raises(
        ValueError, match=f'gt_mask: expected {SIDE}x{SIDE} .*, got {SIDE + 2}x{SIDE}.*{options}'
    ):
        evaluate([sample])
    empty = make_sample({1: block_map(1, 1, 5, 5)}, [1], 1, gt_mask=np.zeros((SIDE, SIDE), np.uint8))
    with pytest.raises(ValueError, match='foreground'):
        evaluate([empty])
