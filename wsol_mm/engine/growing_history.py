"""Histories of the log to which a value is added without copying all that is there."""

from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer, MessageHub

_LEAST_ROOM = 1024


class GrowingHistory(HistoryBuffer):
    """MMEngine's ``HistoryBuffer``, whose array grows by doubling.

    The base copies its whole history for every value: after 400,000 steps, as many as a training on ILSVRC
    has, three milliseconds for each value of a step. What is saved, and a copy, are of the base class.

    Args:
        history: What it goes on from, of floats.
    """

    def __init__(self, history: HistoryBuffer) -> None:
        values, counts = history.data
        self._first, self._end = 0, 0
        self._values = self._counts = np.empty(0)
        super().__init__(values, counts, history.max_length)

    # The two arrays of the base class are views, which it sets anew in its own constructor alone.
    @property
    def _log_history(self) -> np.ndarray:
        return self._values[self._first : self._end]

    @_log_history.setter
    def _log_history(self, values: np.ndarray) -> None:
        self._values, self._first, self._end = values, 0, len(values)

    @property
    def _count_history(self) -> np.ndarray:
        return self._counts[self._first : self._end]

    @_count_history.setter
    def _count_history(self, counts: np.ndarray) -> None:
        self._counts = counts

    def update(self, log_val: int | float, count: int = 1) -> None:
        """Add a value.

        Args:
            log_val: The value.
            count: How often it counts.

        Raises:
            TypeError: If one is no number.
        """
        if not isinstance(log_val, (int, float)) or not isinstance(count, (int, float)):
            raise TypeError(f'log_val, count: expected numbers, got {log_val!r}, {count!r}')
        if self._end == len(self._values):
            kept = self._end - self._first
            room = max(2 * kept, _LEAST_ROOM)
            for name in ('_values', '_counts'):
                old = getattr(self, name)
                new = np.empty(room, old.dtype)
                new[:kept] = old[self._first : self._end]
                setattr(self, name, new)
            self._first, self._end = 0, kept
        self._values[self._end], self._counts[self._end] = log_val, count
        self._end += 1
        self._first = max(self._first, self._end - self.max_length)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return what pickles, and copies, a buffer of the base class."""
        return HistoryBuffer, (self._log_history, self._count_history, self.max_length)


def let_histories_grow(hub: MessageHub) -> None:
    """Replace the histories of a message hub, but for those of whole numbers, by growing ones.

    Args:
        hub: The message hub.
    """
    for name, history in hub.log_scalars.items():
        if type(history) is HistoryBuffer and history.data[0].dtype == np.float64:
            hub.log_scalars[name] = GrowingHistory(history)
