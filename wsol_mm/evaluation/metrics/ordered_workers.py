"""Work beside the main process, with results in the order of the work."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

from wsol_mm.utils.worker_processes import WorkerProcesses

Item = TypeVar('Item')
Result = TypeVar('Result')

# Batches that may be unfinished: one that is worked on, and one so that a slow image delays nobody.
_MAX_BATCHES = 2
# Items that travel together: few, so that all processes are done at about the same time.
_MAX_CHUNK = 32


class OrderedWorkers(Generic[Item, Result]):
    """Processes that take batches of items and give the results back in the order of the items.

    They start with the first batch and end with :meth:`finish`.

    Args:
        function: From an item to its result. It must not depend on other items.
        num_workers: Number of processes; 0: the work is done at once, in the caller's.
    """

    def __init__(self, function: Callable[[Item], Result], num_workers: int) -> None:
        self.function = function
        self.num_workers = num_workers
        self._processes: WorkerProcesses | None = None
        self._batches: deque[list[Future[list[Result]]]] = deque()

    def put(self, batch: Sequence[Item]) -> list[Result]:
        """Start on a batch, after waiting for earlier ones if two are unfinished.

        Returns:
            Results of earlier batches, as far as they have not been returned; without processes, of this
            batch.

        Raises:
            Exception: What the function raised for the first item that failed, in order of the items. The
                work that is left is dropped.
        """
        if self.num_workers == 0:
            return _apply(self.function, batch)
        futures: list[Future[list[Result]]] = []
        if self._processes is None:
            # Kernels that are loaded here, by the first item, need not be loaded by each of them.
            futures.append(Future())
            futures[0].set_result(_apply(self.function, batch[:1]))
            batch = batch[1:]
            self._processes = WorkerProcesses(partial(_apply, self.function), self.num_workers)
        size = min(_MAX_CHUNK, max(1, -(-len(batch) // self.num_workers)))
        chunks = [batch[start : start + size] for start in range(0, len(batch), size)]
        self._batches.append(futures + [self._processes.submit(chunk) for chunk in chunks])
        return self._take(_MAX_BATCHES)

    def finish(self) -> list[Result]:
        """Wait for all work, end the processes and return the results that have not been returned.

        Raises:
            Exception: As :meth:`put`.
        """
        results = self._take(0)
        self._stop()
        return results

    def _take(self, unfinished: int) -> list[Result]:
        results = []
        try:
            while len(self._batches) > unfinished:
                for future in self._batches.popleft():
                    results += future.result()
        except BaseException:
            self._stop()
            raise
        return results

    def _stop(self) -> None:
        self._batches.clear()
        if self._processes is not None:
            self._processes.shutdown(cancel_futures=True)
            self._processes = None


def _apply(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]
