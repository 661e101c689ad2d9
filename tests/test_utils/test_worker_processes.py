"""Processes beside a network: they outlive no one, and a stop of the run is not theirs."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import BrokenExecutor

from wsol_mm.utils.stop_signals import STOP_SIGNALS
from wsol_mm.utils.worker_processes import WorkerProcesses

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
