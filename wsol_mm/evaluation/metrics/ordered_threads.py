"""Work beside the main thread, with results in the order of the work."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')

# Batches that may be unfinished: one that is worked on, and one so that a slow image delays nobody.
_MAX_BATCHES = 2


class OrderedThreads(Generic[Item, Result]):
    """Threads that take batches of items and give the results back in the order of the items.

    Threads and not processes: what takes time here (NumPy, OpenCV, compiled kernels) leaves the interpreter
    to the main thread, and nothing has to be copied. They start with the first batch and end with
    :meth:`finish`.

    Args:
        function: From an item to its result. It must not depend on other items.
        num_workers: Number of threads; 0: the work is done at once, in the caller's.
    """

    def __init__(self, function: Callable[[Item], Result], num_workers: int) -> None:
        self.function = function
        self.num_workers = num_workers
        self._pool: ThreadPoolExecutor | None = None
        self._batches: deque[list[Future[Result]]] = deque()

    def put(self, batch: Iterable[Item]) -> list[Result]:
        """Start on a batch, after waiting for earlier ones if two are unfinished.

        Returns:
            Results of earlier batches, as far as they have not been returned; without threads, of this batch.

        Raises:
            Exception: What the function raised for the first item that failed, in order of the items. The
                work that is left is dropped.
        """
        if self.num_workers == 0:
            return [self.function(item) for item in batch]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.num_workers, 'evaluation')
        self._batches.append([self._pool.submit(self.function, item) for item in batch])
        return self._take(_MAX_BATCHES)

    def finish(self) -> list[Result]:
        """Wait for all work, end the threads and return the results that have not been returned.

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
                results += [future.result() for future in self._batches.popleft()]
        except BaseException:
            self._stop()
            raise
        return results

    def _stop(self) -> None:
        self._batches.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
