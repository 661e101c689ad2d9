"""Processes beside a network: they outlive no one, and a stop of the run is not theirs."""

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor

from wsol_mm.utils.stop_signals import STOP_SIGNALS
from wsol_mm.utils.worker_processes import MadeWhenSent, WorkerProcesses

import cv2
import pytest

from .test_orphans import is_alive


def about_itself(number: int) -> tuple[int, int, int]:
    """Return a number, the process and how many threads OpenCV takes."""
    return number, os.getpid(), cv2.getNumThreads()


def kill_itself(number: int) -> None:
    """End as if there were no memory left."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_other_processes_do_the_work():
    processes = WorkerProcesses(about_itself, 2)
    results = [future.result() for future in [processes.submit(number) for number in range(8)]]
    processes.shutdown()
    assert [number for number, _, _ in results] == list(range(8))
    assert os.getpid() not in {process for _, process, _ in results}
    assert {threads for _, _, threads in results} == {1}


def kinds(items: list[int]) -> tuple[type, list[int]]:
    """Return what has come."""
    return type(items), list(items)


def test_items_are_made_by_the_thread_that_sends_them():
    threads = []

    def square(number: int) -> int:
        threads.append((os.getpid(), threading.current_thread()))
        if number > 9:
            raise KeyError(f'{number}: expected a digit')
        return number**2

    items = MadeWhenSent(square, range(6))
    assert len(items) == 6 and len(items[2:]) == 4 and not threads
    processes = WorkerProcesses(kinds, 1)
    assert processes.submit(items[2:]).result() == (list, [4, 9, 16, 25])
    assert len(threads) == 4 and all(process == os.getpid() for process, _ in threads)
    assert threading.current_thread() not in [thread for _, thread in threads]
    with pytest.raises(KeyError, match='12: expected a digit'):
        processes.submit(MadeWhenSent(square, [3, 12])).result(timeout=60)
    assert processes.submit(items[:1]).result() == (list, [0])
    # Not the end of the items, nor of the queue.
    out_of_range = MadeWhenSent('ab'.__getitem__, [0, 2, 1])
    with pytest.raises(LookupError, match='index out of range'):
        processes.submit(out_of_range).result(timeout=20)
    assert processes.submit(items[:2]).result(timeout=20) == (list, [0, 1])
    processes.shutdown()
    # Where nothing is sent.
    assert list(items) == [0, 1, 4, 9, 16, 25] and items[1] == 1
    with pytest.raises(IndexError):
        list(out_of_range)


@pytest.mark.parametrize('stop', STOP_SIGNALS)
def test_a_stop_of_the_run_does_not_stop_them(stop):
    processes = WorkerProcesses(about_itself, 1)
    _, process, _ = processes.submit(0).result()
    os.kill(process, stop)
    assert processes.submit(1).result()[:2] == (1, process)
    processes.shutdown()


def test_a_killed_process_is_an_error_and_no_hang():
    processes = WorkerProcesses(kill_itself, 2)
    with pytest.raises(BrokenExecutor):
        processes.submit(0).result(timeout=60)
    processes.shutdown()


def test_they_end_when_their_parent_is_killed(tmp_path):
    file = tmp_path / 'process'
    parent = os.fork()
    if parent == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        _, process, _ = WorkerProcesses(about_itself, 1).submit(0).result()
        file.write_text(str(process))
        time.sleep(60)
        os._exit(1)
    deadline = time.monotonic() + 30
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    while is_alive(int(file.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def in_pool(number: int) -> tuple[int, bool]:
    """Call a function as a process that may have no others."""
    workers = WorkerProcesses(about_itself, 1)
    result, process, _ = workers.submit(number).result()
    workers.shutdown()
    return result, process == os.getpid()


def test_a_daemonic_process_does_its_work_itself():
    with multiprocessing.get_context('fork').Pool(1) as pool:
        assert pool.apply(in_pool, (3,)) == (3, True)
