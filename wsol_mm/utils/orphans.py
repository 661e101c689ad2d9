"""Processes of a distributed run end when their launcher has ended, even if it was killed."""

import contextlib
import os
import signal
import threading
import time

# Long enough for a step and a checkpoint.
_GRACE_S = 60.0
_EVERY_S = 1.0


def end_with_parent(grace_s: float = _GRACE_S, every_s: float = _EVERY_S, parent: int | None = None) -> None:
    """Let this process end when the one has ended that started it.

    It is sent SIGTERM then, after which a training saves and stops, and SIGKILL if it is still there later:
    it may wait for a process that is no more.

    Args:
        grace_s: Seconds between the two.
        every_s: Seconds between two looks.
        parent: Number of that process, where it is known: it may have ended before this call. If None, it is
            the present parent.
    """
    if parent is None:
        parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every_s)
        # What was printed to may be gone as well.
        with contextlib.suppress(OSError):
            os.write(2, b'The launcher has ended: this process ends, too\n')
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_s)
        os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))

    threading.Thread(target=watch, name='end_with_parent', daemon=True).start()
