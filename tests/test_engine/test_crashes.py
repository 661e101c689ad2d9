"""A training that is broken off anywhere loses no checkpoint, and ends as if it had never been."""

import errno
import os
import random
import shutil
import signal
import time

from tests.toy_training import (
    EPOCHS,
    break_in_the_middle,
    break_off,
    count_changes,
    end_of,
    in_child,
    make_training,
)
from wsol_mm.utils.checkpoint_io import read_checkpoint

import pytest
import torch


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    """What the training comes to, and how many changes to its folder it makes."""
    folder = tmp_path_factory.mktemp('undisturbed') / 'run'
    changes = count_changes(folder, lambda: make_training(folder).train())
    return end_of(folder), changes


def check_nothing_lost(folder, what):
    """Every file that has the name of a checkpoint reads."""
    checkpoints = sorted(folder.glob('epoch_*.pth')) + sorted(folder.glob('best_*.pth'))
    for path in checkpoints:
        try:
            read_checkpoint(path)
        except ValueError as error:
            raise AssertionError(f'{what}: {error}') from error
    last = folder / 'last_checkpoint'
    if last.exists():
        assert last.read_text().startswith(str(folder)), what
    return checkpoints


def check_same_end(folder, expected, what):
    assert in_child(lambda: make_training(folder, resume=True).train()) == 0, what
    found = end_of(folder)
    best = found.pop('best')
    assert best == expected['best'], what
    expected = {name: value for name, value in expected.items() if name != 'best'}
    torch.testing.assert_close(found, expected, rtol=0, atol=0, msg=lambda text: f'{what}: {text}')
    assert sorted(path.name for path in folder.glob('*.pth')) == [
        best,
        f'epoch_{EPOCHS - 1}.pth',
        f'epoch_{EPOCHS}.pth',
    ], what
    assert not list(folder.glob('.*')), what


def check_break(folder, expected, number, error):
    what = f'{"killed" if error is None else error} at change {number}'
    status = break_off(folder, lambda: make_training(folder).train(), number, error)
    # Making a folder that is there may fail without harm.
    assert status in ((-signal.SIGKILL,) if error is None else (0, 1)), what
    if folder.is_dir():
        check_nothing_lost(folder, what)
    check_same_end(folder, expected, what)
    shutil.rmtree(folder)


ERRORS = [None, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), OSError(errno.EIO, os.strerror(errno.EIO))]


def test_broken_off_at_some_changes(undisturbed, tmp_path):
    expected, changes = undisturbed
    for place, number in enumerate(range(3, changes, changes // 6)):
        check_break(tmp_path / 'run', expected, number, ERRORS[place % 3])


@pytest.mark.parametrize('killed', [True, False])
def test_broken_off_in_the_middle_of_a_checkpoint(undisturbed, tmp_path, killed):
    """The first checkpoint is complete; the second is longer, or the same, and is cut."""
    expected, _ = undisturbed
    folder = tmp_path / 'run'
    assert in_child(lambda: make_training(folder).train()) == 0
    sizes = {path.stat().st_size for path in folder.glob('epoch_*.pth')}
    shutil.rmtree(folder)
    status = break_in_the_middle(lambda: make_training(folder).train(), min(sizes) // 2, killed)
    assert status == (-signal.SIGXFSZ if killed else 1)
    assert check_nothing_lost(folder, 'cut') == []
    assert len(list(folder.glob('.*.part'))) == killed
    check_same_end(folder, expected, 'cut')


@pytest.mark.slow
@pytest.mark.parametrize('error', ERRORS, ids=['kill', 'ENOSPC', 'EIO'])
def test_broken_off_at_every_change(undisturbed, tmp_path, error):
    expected, changes = undisturbed
    for number in range(changes):
        check_break(tmp_path / 'run', expected, number, error)


@pytest.mark.slow
def test_killed_at_a_hundred_moments(undisturbed, tmp_path):
    expected, _ = undisturbed
    folder, moments = tmp_path / 'run', random.Random(0)
    started = time.monotonic()
    assert in_child(lambda: make_training(folder).train()) == 0
    duration = time.monotonic() - started
    shutil.rmtree(folder)
    for number in range(100):
        moment = moments.uniform(0, duration)

        def train(moment=moment):
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            signal.setitimer(signal.ITIMER_REAL, moment)
            make_training(folder).train()

        in_child(train)
        if folder.is_dir():
            check_nothing_lost(folder, f'killed {number} after {moment:.3f} s')
        check_same_end(folder, expected, f'killed {number} after {moment:.3f} s')
        shutil.rmtree(folder)
