import multiprocessing
import time

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
