"""Batches come into the journal in order, whichever is finished first, and none behind one that failed."""

import threading
import time

from tests.forked_tools import PROCESSES
from wsol_mm.apis.journal_writer import JournalWriter

import pytest


class Journal:
    """Keeps what is appended, in place of a file."""

    def __init__(self, fails_at=None, seconds=0.0):
        self.batches, self.fails_at, self.seconds = [], fails_at, seconds

    def append(self, results):
        time.sleep(self.seconds)
        if len(self.batches) == self.fails_at:
            self.fails_at = None  # the next one would succeed
            raise OSError('disk full')
        self.batches.append(results)


def put_all(journal, finish, processes, count=20, error=None):
    with JournalWriter(journal, finish, processes) as writer:
        for number in range(count):
            writer.put((number,))
        if error is not None:
            raise error


@pytest.mark.parametrize('processes', [1, 2, 4])
def test_order(processes):
    def finish(number):
        time.sleep(0.005 * (number % 3 == 0))
        return [number]

    journal = Journal()
    put_all(journal, finish, processes)
    assert journal.batches == [[number] for number in range(20)]


@pytest.mark.parametrize('processes', [1, 3])
def test_nothing_behind_what_could_not_be_written(processes):
    journal = Journal(fails_at=3)
    with pytest.raises(OSError, match='disk full'):
        put_all(journal, lambda n: [n], processes)
    assert journal.batches == [[0], [1], [2]]


def test_nothing_behind_what_has_no_result():
    def finish(number):
        if number == 2:
            raise ValueError('image 2')
        return [number]

    journal = Journal()
    with pytest.raises(ValueError, match='image 2'):
        put_all(journal, finish, 2)
    assert journal.batches == [[0], [1]]


def test_what_was_put_before_an_interrupt_is_written():
    journal = Journal(seconds=0.01)
    with pytest.raises(KeyboardInterrupt):
        put_all(journal, lambda n: [n], 1, 2, KeyboardInterrupt())
    assert journal.batches == [[0], [1]]


def test_few_batches_wait_and_the_caller_does_not():
    """As many as there are processes are worked on, and one waits; the next waits for one of them."""
    ready = PROCESSES.Event()
    journal = Journal()

    def finish(number):
        assert ready.wait(10)
        return [number]

    with JournalWriter(journal, finish, 2) as writer:
        for number in range(3):
            writer.put((number,))  # at once
        assert not journal.batches
        threading.Timer(0.05, ready.set).start()
        writer.put((3,))
        assert ready.is_set() and journal.batches
    assert journal.batches == [[0], [1], [2], [3]]


@pytest.mark.parametrize('fails', [False, True])
def test_what_is_done_before_a_batch_is_written(fails):
    """Its results are there, and it is not written if that fails."""
    journal, seen = Journal(), []

    def before(context, results):
        seen.append((context, results, len(journal.batches)))
        if fails and context == 'b':
            raise OSError('no picture')

    def put_two():
        with JournalWriter(journal, lambda n: [n], 1, before) as writer:
            writer.put((1,), 'a')
            writer.put((2,), 'b')

    if fails:
        with pytest.raises(OSError, match='no picture'):
            put_two()
    else:
        put_two()
    assert seen == [('a', [1], 0), ('b', [2], 1)]
    assert journal.batches == [[1], [2]][: 1 if fails else 2]
