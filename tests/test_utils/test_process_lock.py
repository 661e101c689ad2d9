import multiprocessing
import time

from wsol_mm.utils import process_lock as module
from wsol_mm.utils.process_lock import process_lock

import pytest


def hold(file, held):
    with process_lock(file):
        held.set()
        time.sleep(60)


def test_another_process_is_refused_and_a_killed_one_locks_nobody_out(tmp_path):
    context = multiprocessing.get_context('fork')
    held = context.Event()
    other = context.Process(target=hold, args=(tmp_path / 'lock', held))
    other.start()
    assert held.wait(30)
    message = 'lock: expected no other process at work'
    with pytest.raises(BlockingIOError, match=message), process_lock(tmp_path / 'lock'):
        pass
    assert (tmp_path / 'lock').exists(), 'it is not of the one that was refused'
    other.kill()
    other.join()
    with process_lock(tmp_path / 'lock'):
        assert (tmp_path / 'lock').exists()
    assert not (tmp_path / 'lock').exists()


def test_error_in_the_body_releases(tmp_path):
    with pytest.raises(KeyError), process_lock(tmp_path / 'lock'):
        raise KeyError
    assert not (tmp_path / 'lock').exists()


@pytest.mark.parametrize('another', [False, True])
def test_a_file_that_its_former_holder_removes_locks_nothing(tmp_path, monkeypatch, another):
    """Between opening and locking; a third process may have made a new one."""
    file, lock, calls = tmp_path / 'lock', module.fcntl.lockf, []

    def lock_late(stream, flags):
        calls.append(stream)
        if len(calls) == 1:
            file.unlink()
            if another:
                file.touch()
        lock(stream, flags)

    monkeypatch.setattr(module.fcntl, 'lockf', lock_late)
    with process_lock(file):
        assert file.exists() and len(calls) == 2
    assert not file.exists()
