"""A process ends when the one has ended that started it."""

import os
import signal
import time

from wsol_mm.utils.orphans import end_with_parent

import pytest


@pytest.mark.parametrize('stubborn', [False, True])
def test_an_orphan_ends(tmp_path, stubborn):
    """Its parent is killed; it is asked to stop, and killed if it does not."""
    noted, number = tmp_path / 'noted', tmp_path / 'number'
    launcher = os.fork()
    if launcher == 0:
        if os.fork() == 0:
            if stubborn:  # notes the request, and goes on
                signal.signal(signal.SIGTERM, lambda *_: noted.write_text('asked'))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            end_with_parent(grace_s=0.3, every_s=0.02)
            number.write_text(str(os.getpid()))
        while True:
            time.sleep(0.05)
    while not (number.exists() and number.read_text()):
        time.sleep(0.02)
    orphan = int(number.read_text())
    time.sleep(0.2)
    os.kill(orphan, 0)  # lives as long as its parent
    assert not noted.exists()
    os.kill(launcher, signal.SIGKILL)
    os.waitpid(launcher, 0)
    deadline = time.monotonic() + 10
    while is_alive(orphan):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert noted.exists() == stubborn


def test_a_parent_that_ended_before():
    orphan = os.fork()
    if orphan == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        end_with_parent(grace_s=0, every_s=0.02, parent=os.getppid() + 1)
        time.sleep(60)
        os._exit(0)
    _, status = os.waitpid(orphan, 0)
    assert os.WIFSIGNALED(status)


def is_alive(number):
    """Whether a process runs; one that nobody waits for may be listed for some time."""
    try:
        with open(f'/proc/{number}/stat') as file:
            return file.read().rpartition(')')[2].split()[0] not in 'ZX'
    except FileNotFoundError:
        return False
