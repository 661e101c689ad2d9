"""Makes batches of requests that come at the same time."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class BusyError(Exception):
    """More requests wait than may wait."""


class RequestBatcher:
    """Collects what is submitted at the same time, and works on it at once, in a thread of its own.

    While a batch is in work, the next one fills. One that is not full starts ``max_wait`` seconds after its
    first item, so that a lone request waits no longer than that.

    Args:
        work: From a list of items to as many results; what it raises, all items of the batch raise.
        batch_size: Largest batch.
        max_wait: Seconds that an item waits for others.
        max_queue: Items that may wait.
    """

    def __init__(
        self, work: Callable[[list], Sequence], batch_size: int, max_wait: float, max_queue: int
    ) -> None:
        self.work = work
        self.batch_size = batch_size
        self.max_wait = max_wait
        self.max_queue = max_queue
        self._waiting: asyncio.Queue[tuple[Any, asyncio.Future]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix='model')
        self._task: asyncio.Task | None = None

    @property
    def num_waiting(self) -> int:
        """How many items wait."""
        return self._waiting.qsize()

    async def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; what is still waiting is cancelled."""
        if self._task is not None:
            self._task.cancel()
        while not self._waiting.empty():
            self._waiting.get_nowait()[1].cancel()
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def submit(self, item: Any) -> Any:
        """Have an item worked on, with others.

        Args:
            item: The item.

        Returns:
            Its result.

        Raises:
            BusyError: If too many wait already.
        """
        if self._waiting.qsize() >= self.max_queue:
            raise BusyError(f'expected at most {self.max_queue} waiting requests, got one more')
        future = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((item, future))
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._waiting.get()]
            until = loop.time() + self.max_wait
            while len(batch) < self.batch_size:
                try:
                    left = until - loop.time()
                    if self._waiting.empty() and left <= 0:
                        break
                    batch.append(await asyncio.wait_for(self._waiting.get(), max(left, 0)))
                except asyncio.TimeoutError:
                    break
            # Who has gone away meanwhile needs no result.
            batch = [(item, future) for item, future in batch if not future.done()]
            if not batch:
                continue
            try:
                results = await loop.run_in_executor(self._thread, self.work, [item for item, _ in batch])
            except Exception as error:  # of the model: the requests report it, the server goes on
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
