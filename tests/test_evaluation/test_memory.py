"""What an evaluation keeps of an image is small, and nothing else is left of it."""

import gc
import pickle
from pathlib import Path

from benchmarks.overlap import LabelledImages
from benchmarks.stand_in import stand_in_localizer
from wsol_mm.evaluation.metrics import LocalizationMetric

import pytest
from mmengine.dataset import default_collate

BATCH = 125
BYTES_OF_A_RECORD = 200
# As objects in memory, between what threads have freed. The maps of an image, or its scores, are 4,000 bytes.
BYTES_OF_AN_IMAGE = 3000
SLACK = 6 * 2**20


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(not Path('/proc/self/statm').exists(), reason='reads memory from /proc')
@pytest.mark.parametrize('number', [3000, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize('workers', [0, 2])
def test_memory_does_not_grow(number, workers):
    """Images of 1,000 classes."""
    metric = LocalizationMetric(['ts_cam'], num_eval_workers=workers)
    localizer = stand_in_localizer(images_per_second=1e9)

    def process():
        predicted = localizer.test_step(default_collate(list(LabelledImages(BATCH))))
        metric.process(None, [sample.to_dict() for sample in predicted])

    # What is made once: compiled kernels, tables, threads, the queue of batches.
    for _ in range(4):
        process()
    before = resident()
    for _ in range(number // BATCH - 4):
        process()
    grown = resident() - before
    size = len(pickle.dumps(metric.results[:64])) / 64
    assert size < BYTES_OF_A_RECORD
    assert grown < number * BYTES_OF_AN_IMAGE + SLACK
    assert metric.evaluate(number)['Top-5_Cls'] == 100
