import threading
import time

from wsol_mm.evaluation.metrics.ordered_threads import OrderedThreads

import pytest


def late_first(item: int) -> int:
    """Return the square, of the first items of ten last."""
    time.sleep(0.002 * (10 - item % 10))
    return item**2


@pytest.mark.parametrize('workers', [0, 1, 2, 4])
def test_results_come_in_the_order_of_the_items(workers):
    threads = OrderedThreads(late_first, workers)
    results = []
    for start in range(0, 60, 10):
        results += threads.put(range(start, start + 10))
    results += threads.finish()
    assert results == [item**2 for item in range(60)]
    assert threads.finish() == [] and threads.put([]) == []


def test_the_caller_goes_on_until_two_batches_are_unfinished():
    gate = threading.Event()
    started = []

    def wait(item: int) -> int:
        started.append(item)
        assert gate.wait(30)
        return item

    threads = OrderedThreads(wait, 2)
    assert threads.put([0, 1, 2]) == threads.put([3]) == []
    results = []
    third = threading.Thread(target=lambda: results.extend(threads.put([4, 5])))
    third.start()
    third.join(0.2)
    assert third.is_alive() and set(started) == {0, 1}
    gate.set()
    third.join(30)
    assert results == [0, 1, 2]
    assert threads.finish() == [3, 4, 5]


@pytest.mark.parametrize('workers', [0, 1, 3])
def test_the_first_error_in_order_is_raised_and_the_rest_dropped(workers):
    done = []

    def fail(item: int) -> int:
        time.sleep(0.01 * (3 - item % 3))
        if item in (4, 5):
            raise ValueError(f'item {item}')
        done.append(item)
        return item

    threads = OrderedThreads(fail, workers)

    def put_all() -> None:
        for start in range(0, 90, 3):
            threads.put(range(start, start + 3))
        threads.finish()

    with pytest.raises(ValueError, match='item 4'):
        put_all()
    assert len(done) < 30
    # As new: nothing of the dropped work comes later, and the threads have ended.
    assert threads.finish() == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith('evaluation')]
    assert threads.put([0]) + threads.finish() == [0]
