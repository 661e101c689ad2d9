"""Finishes batches beside the network's work, and writes them into a journal in order."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from .prediction_journal import PredictionJournal


class JournalWriter:
    """Threads that make results of batches, and one that appends them; the main thread waits for neither.

    Batches reach the journal in the order in which they were put, whichever is finished first, and none
    behind one that failed. As a context manager, it waits for all of them at the end.

    Args:
        journal: The journal.
        finish: Makes what the journal keeps of a batch.
        threads: How many batches are made into results at a time; one more waits.
    """

    def __init__(
        self, journal: PredictionJournal, finish: Callable[..., list[dict]], threads: int = 1
    ) -> None:
        self.journal = journal
        self.finish = finish
        self._most = threads + 1
        self._finishing = ThreadPoolExecutor(threads, 'boxes')
        self._writing = ThreadPoolExecutor(1, 'journal')
        self._pending: deque[Future[None]] = deque()
        self._failed = False

    def put(self, *batch: Any) -> None:
        """Start on a batch; wait for the first of the others if there are too many.

        Args:
            *batch: Arguments of ``finish``.

        Raises:
            Exception: What was raised for an earlier batch.
        """
        while len(self._pending) >= self._most:
            self._pending.popleft().result()
        results = self._finishing.submit(self.finish, *batch)
        self._pending.append(self._writing.submit(self._append, results))

    def _append(self, results: 'Future[list[dict]]') -> None:
        if self._failed:
            return
        try:
            self.journal.append(results.result())
        except BaseException:
            self._failed = True
            raise

    def __enter__(self) -> 'JournalWriter':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Also after an error: what is finished then need not be done again.
        for pool in (self._finishing, self._writing):
            pool.shutdown()
        if error is None:
            for future in self._pending:
                future.result()
