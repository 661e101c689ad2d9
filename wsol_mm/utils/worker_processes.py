"""Processes for work on the CPU beside a network."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, TypeVar

import cv2

from .orphans import end_with_parent
from .stop_signals import STOP_SIGNALS

Item = TypeVar('Item')


class WorkerProcesses:
    """Processes that apply one function. They start with the first call.

    Processes and not threads: where the work is many short compiled calls, threads take turns at Python's
    lock. On Linux they are forked, at once; elsewhere each imports what it needs first. They end with the
    process that made them, even if it is killed. A daemonic process, which may have no others, has threads.

    Args:
        function: What is called. Its arguments and results travel between processes, and the function, too,
            where there is no fork.
        number: Number of processes.
    """

    def __init__(self, function: Callable[..., Any], number: int) -> None:
        self._pool: Executor
        if multiprocessing.current_process().daemon:  # it may have no children
            self._pool, self._call = ThreadPoolExecutor(number), function
            return
        context = multiprocessing.get_context('fork' if sys.platform == 'linux' else 'spawn')
        self._pool = ProcessPoolExecutor(number, context, _start, (function, os.getpid()))
        self._call = _call

    def submit(self, *args: Any) -> Future:
        """Call the function in a process that is free.

        Returns:
            Its result, or what it raised; :class:`concurrent.futures.BrokenExecutor` if a process was killed.
        """
        return self._pool.submit(self._call, *args)

    def shutdown(self, cancel_futures: bool = False) -> None:
        """Wait for what has begun, and unless it is cancelled for the rest; end the processes."""
        self._pool.shutdown(cancel_futures=cancel_futures)


class MadeWhenSent(Sequence[Item]):
    """Items that are made of something else when they are sent to a process, by the thread that sends them.

    Whoever starts the work does not wait for them. A process gets a list; where nothing is sent, an item is
    made whenever it is read.

    Args:
        make: Makes an item of its source.
        sources: What the items are made of.
    """

    def __init__(self, make: Callable[[Any], Item], sources: Sequence[Any]) -> None:
        self._make = make
        self._sources = sources

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return MadeWhenSent(self._make, self._sources[index])
        return self._make(self._sources[index])

    def __iter__(self) -> Iterator[Item]:
        # That of a sequence takes an IndexError of ``make`` for its end.
        return map(self._make, self._sources)

    def __reduce__(self) -> tuple[type[list], tuple[list[Item]]]:
        try:
            return list, ([*self],)
        except IndexError as error:
            # The queue takes one for its own, and nobody would ever hear of these items.
            raise LookupError(*error.args) from error


_function: Callable[..., Any]


def _start(function: Callable[..., Any], parent: int) -> None:
    global _function
    _function = function
    # A stop of the run is signalled to all of its processes; the step in hand still needs their results.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    end_with_parent(grace_s=0, parent=parent)
    cv2.setNumThreads(0)


def _call(*args: Any) -> Any:
    return _function(*args)
