import multiprocessing
import threading
import time
from functools import partial

from wsol_mm.evaluation.metrics.ordered_workers import OrderedWorkers

import pytest

FORK = multiprocessing.get_context('fork')


def late_first(item: int) -> int:
    """Return the square, of the first items of ten last."""
    time.sleep(0.002 * (10 - item % 10))
    return item**2


@pytest.mark.parametrize('number', [0, 1, 2, 4])
def test_results_come_in_the_order_of_the_items(number):
    workers = OrderedWorkers(late_first, number)
    results = []
    for start in range(0, 60, 20):
        results += workers.put(range(start, start + 20))
    results += workers.finish()
    assert results == [item**2 for item in range(60)]
    assert workers.finish() == [] and workers.put([]) == []


def wait_for(gate, started, item: int) -> int:
    """Wait, but for the first item, which is worked on before there are processes."""
    started.put(item)
    assert item == 0 or gate.wait(30)
    return item


def test_the_caller_goes_on_until_two_batches_are_unfinished():
    gate, started = FORK.Event(), FORK.Queue()
    workers = OrderedWorkers(partial(wait_for, gate, started), 2)
    assert workers.put([0, 1, 2]) == workers.put([3]) == []
    results = []
    third = threading.Thread(target=lambda: results.extend(workers.put([4, 5])))
    third.start()
    assert sorted(started.get(timeout=30) for _ in range(3)) == [0, 1, 2]
    third.join(0.2)
    assert third.is_alive()
    gate.set()
    third.join(30)
    assert results == [0, 1, 2]
    assert workers.finish() == [3, 4, 5]


def fail_at(done, item: int) -> int:
    """Fail at two items of the second batch, at the later one first."""
    time.sleep(0.01 * (3 - item % 3))
    if item in (4, 5):
        raise ValueError(f'item {item}')
    with done.get_lock():
        done.value += 1
    return item


@pytest.mark.parametrize('number', [0, 1, 3])
def test_the_first_error_in_order_is_raised_and_the_rest_dropped(number):
    done = FORK.Value('i')
    workers = OrderedWorkers(partial(fail_at, done), number)

    def put_all() -> None:
        for start in range(0, 90, 3):
            workers.put(range(start, start + 3))
        workers.finish()

    with pytest.raises(ValueError, match='item 4'):
        put_all()
    assert done.value < 30
    # As new: nothing of the dropped work comes later, and the processes have ended.
    assert workers.finish() == []
    assert not multiprocessing.active_children()
    assert workers.put([0]) + workers.finish() == [0]
