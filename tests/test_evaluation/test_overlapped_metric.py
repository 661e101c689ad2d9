"""The work on an image beside the network: the same numbers, and errors that name their image."""

import os

from tests.forked_tools import PROCESSES
from wsol_mm.evaluation.metrics import LocalizationMetric, image_record
from wsol_mm.evaluation.metrics.protocol_record import make_record
from wsol_mm.evaluation.protocols import PRESETS

import pytest

from .samples import evaluate, random_samples


def _evaluate_share(
    rank: int, world_size: int, samples: list[dict], protocols: list, num_workers: tuple[int, ...], queue
) -> None:
    import torch.distributed as dist

    os.environ.update(
        MASTER_ADDR='127.0.0.1', MASTER_PORT='29541', RANK=str(rank), WORLD_SIZE=str(world_size)
    )
    dist.init_process_group('gloo', rank=rank, world_size=world_size)
    # DefaultSampler: rank r takes every world_size-th sample and pads by starting again
    total = -(-len(samples) // world_size) * world_size
    padded = (samples * 2)[:total]
    share = padded[rank::world_size]
    for workers in num_workers:
        metric = LocalizationMetric(protocols, num_eval_workers=workers)
        metric.dataset_meta = {}
        for start in range(0, len(share), 3):
            metric.process(None, share[start : start + 3])
        values = metric.evaluate(len(samples))
        if rank == 0:
            queue.put(values)
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_and_any_number_of_workers_give_the_result_of_one():
    samples = random_samples(21)
    protocols = list(PRESETS)
    expected = evaluate(samples, protocols, num_eval_workers=0)
    num_workers = (0, 1, 2, 4)
    for workers in num_workers[1:]:
        assert evaluate(samples, protocols, num_eval_workers=workers) == expected
    queue = PROCESSES.Queue()
    processes = [
        PROCESSES.Process(target=_evaluate_share, args=(rank, 2, samples, protocols, num_workers, queue))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    values = [queue.get(timeout=240) for _ in num_workers]
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert values == [expected] * len(num_workers)


def test_boxes_are_found_beside_the_caller(monkeypatch, four_samples):
    gate, found_in = PROCESSES.Event(), PROCESSES.Queue()
    caller = os.getpid()

    def wait(*args):
        if os.getpid() != caller:
            assert gate.wait(30)
            found_in.put(os.getpid())
        return make_record(*args)

    monkeypatch.setattr(image_record, 'make_record', wait)
    metric = LocalizationMetric(['ts_cam'], num_eval_workers=2)
    metric.process(None, four_samples[:2])
    metric.process(None, four_samples[2:])
    gate.set()
    assert metric.evaluate(4)['ts_cam/GT-known_Loc'] == 50
    # The caller finds those of the first image, before there are processes.
    assert len([found_in.get(timeout=30) for _ in four_samples[1:]]) == 3
    # The next evaluation starts anew.
    metric.process(None, four_samples[:1])
    assert metric.evaluate(1)['ts_cam/GT-known_Loc'] == 100


@pytest.mark.parametrize('workers', [0, 2])
def test_an_error_names_its_image(workers, four_samples):
    samples = [{**sample, 'img_path': f'birds/{i}.jpg'} for i, sample in enumerate(four_samples)]
    samples[2]['loc_labels'] = samples[2]['loc_labels'] + 3
    message = r"'birds/2\.jpg: loc_labels: expected a map of class 1, got maps of"
    with pytest.raises(KeyError, match=message):
        evaluate(samples, ['ts_cam', 'maxboxacc'], num_eval_workers=workers)


@pytest.mark.parametrize('workers', [0, 1, 2])
def test_an_error_on_the_way_names_its_image(workers, four_samples):
    """NumPy has no bfloat16. The thread that sends the images finds that out."""
    broken = {**four_samples[2], 'loc_maps': four_samples[2]['loc_maps'].bfloat16(), 'img_path': 'a.jpg'}
    with pytest.raises(TypeError, match='^a.jpg: .*BFloat16'):
        evaluate([*four_samples, broken, *four_samples], ['ts_cam'], num_eval_workers=workers)


@pytest.mark.parametrize('workers', [-1, 1.5, None])
def test_num_eval_workers_errors(workers):
    with pytest.raises(ValueError, match=f'num_eval_workers: expected an integer from 0, got {workers}'):
        LocalizationMetric(['ts_cam'], num_eval_workers=workers)
