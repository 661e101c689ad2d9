"""Stops of a run from outside: they are noted, and the run ends itself where nothing is lost."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: What asks a run to stop: Ctrl-C, and what schedulers send before they kill.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A launcher may pass on a signal that its processes have got already; a second one of somebody comes later.
_PATIENCE_S = 2.0


class StopRequest:
    """Whether a run was asked to stop.

    Attributes:
        number: The signal; 0 if there was none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._since = 0.0

    def note(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; a second one, some seconds later, has its usual effect at once."""
        now = time.monotonic()
        if not self.number:
            self.number, self._since = number, now
            # Nothing that locks: the signal may have come within a print.
            with contextlib.suppress(OSError):  # of a launcher that has ended
                os.write(2, b'Stopping after this step; again to stop at once\n')
        elif now - self._since > _PATIENCE_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Note SIGINT and SIGTERM while the body runs; outside the main thread, which alone may, do nothing.

    Yields:
        Where they are noted.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    former = {number: signal.signal(number, request.note) for number in STOP_SIGNALS}
    try:
        yield request
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
