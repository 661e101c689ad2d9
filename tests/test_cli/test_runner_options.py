"""Errors of tools in one line: of workers that died, of names that are no text."""

import os
import signal
import sys

from wsol_mm.cli.runner_options import one_line_errors

import pytest
from torch.utils.data import DataLoader, Dataset


class Dying(Dataset):
    """The process that loads the third image ends."""

    def __init__(self, how):
        self.how = how

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 3:
            if self.how == 'killed':
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(3)
        return index


@pytest.mark.parametrize(
    ('how', 'message'),
    [('killed', 'is killed by signal: Killed'), ('left', 'exited unexpectedly with exit code 3')],
)
def test_a_worker_that_dies(monkeypatch, how, message):
    monkeypatch.setattr(sys, 'argv', ['tools/train.py'])
    with pytest.raises(SystemExit) as caught, one_line_errors():
        list(DataLoader(Dying(how), num_workers=2))
    text = str(caught.value.code)
    assert text.startswith(
        'train.py: error: data loading: expected workers that work to the end, got one that did'
    )
    assert message in text and '(pid ' in text and 'num_workers' in text and '\n' not in text


def test_other_errors_of_a_program_keep_their_traceback():
    with pytest.raises(RuntimeError, match='mine'), one_line_errors():
        raise RuntimeError('mine')


def test_names_that_are_no_text_are_printed(monkeypatch, tmp_path):
    name = b'caf\xe9'.decode('utf-8', 'surrogateescape')
    with open(tmp_path / 'out', 'w', encoding='utf-8', errors='strict') as stream:
        monkeypatch.setattr(sys, 'stdout', stream)
        with one_line_errors():
            print(name)
    assert (tmp_path / 'out').read_text() == 'caf\\udce9\n'
