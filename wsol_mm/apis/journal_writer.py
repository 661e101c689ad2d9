"""Finishes batches beside the network's work, and writes them into a journal in order."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from wsol_mm.utils.worker_processes import WorkerProcesses

from .prediction_journal import PredictionJournal


class JournalWriter:
    """Processes that make results of batches, and a thread that appends them; the caller waits for neither.

    Batches reach the journal in the order in which they were put, whichever is finished first, and none
    behind one that failed. As a context manager, it waits for all of them at the end.

    Args:
        journal: The journal.
        finish: Makes what the journal keeps of a batch, one dict per image; in another process.
        processes: How many batches are made into results at a time; one more waits.
        before: What the thread does with the results before it appends them.
    """

    def __init__(
        self,
        journal: PredictionJournal,
        finish: Callable[..., list[dict]],
        processes: int = 1,
        before: Callable[..., None] | None = None,
    ) -> None:
        self.journal = journal
        self._before = before
        self._most = processes + 1
        self._finishing = WorkerProcesses(finish, processes)
        self._writing = ThreadPoolExecutor(1, 'journal')
        self._pending: deque[Future[None]] = deque()
        self._failed = False

    def put(self, batch: tuple, context: Any = None) -> None:
        """Start on a batch; wait for the first of the others if there are too many.

        Args:
            batch: Arguments of ``finish``.
            context: First argument of ``before``, whose second are the results.

        Raises:
            Exception: What was raised for an earlier batch.
        """
        while len(self._pending) >= self._most:
            self._pending.popleft().result()
        results = self._finishing.submit(*batch)
        self._pending.append(self._writing.submit(self._append, results, context))

    def _append(self, future: 'Future[list[dict]]', context: Any) -> None:
        if self._failed:
            return
        try:
            results = future.result()
            if self._before is not None:
                self._before(context, results)
            self.journal.append(results)
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
