"""Errors of tools in one line: what users can mend, workers that died, names that are no text."""

import os
import signal
import sys

from wsol_mm.cli.runner_options import one_line_errors
from wsol_mm.utils.worker_processes import WorkerProcesses

import pytest
from mmengine.logging import MMLogger
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


def test_a_process_that_finds_boxes_and_dies(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['tools/predict.py'])
    message = (
        'predict.py: error: worker processes: expected some that work to the end, got one that was killed'
    )
    with pytest.raises(SystemExit, match=message), one_line_errors():
        WorkerProcesses(lambda: os.kill(os.getpid(), signal.SIGKILL), 1).submit().result(timeout=60)


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


def test_what_users_can_mend_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr('sys.argv', ['/somewhere/tool.py'])

    @one_line_errors(KeyError)
    def tool(error):
        if error is None:
            (tmp_path / 'no' / 'file').write_text('')
        raise error

    for error, text in (
        (ValueError('num: expected 1 to 3, got 0'), 'num: expected 1 to 3, got 0'),
        (KeyError('no such metric'), 'no such metric'),
        (
            ValueError('3 classes in the data: set model.head.num_classes=3'),
            '3 classes in the data: set model.head.num_classes=3 (settings are changed by --cfg-options '
            'KEY=VALUE)',
        ),
        (None, f"[Errno 2] No such file or directory: '{tmp_path / 'no' / 'file'}'"),
    ):
        with pytest.raises(SystemExit) as caught:
            tool(error)
        assert caught.value.code == f'tool.py: error: {text}'
    with pytest.raises(TypeError):  # an error of the tool itself keeps its traceback
        tool(TypeError('of the tool'))


def test_errors_from_below_are_one_line_too(monkeypatch):
    monkeypatch.setattr('sys.argv', ['tool.py'])

    @one_line_errors()
    def tool(error):
        raise error

    worker = ValueError(
        'Caught ValueError in DataLoader worker process 0.\nTraceback:\n  ...\nValueError: a.jpg'
    )
    setting = TypeError("class `Head`: __init__() got an unexpected keyword argument 'clases'")
    backbone = TypeError('head: expected a LocalizationHead, got LinearClsHead')
    misspelt = KeyError('TSCAMHaed is not in the wsol_mm::model registry')
    for error, text in (
        (worker, 'ValueError: a.jpg'),
        (setting, str(setting)),
        (backbone, str(backbone)),
        (misspelt, misspelt.args[0]),
    ):
        with pytest.raises(SystemExit) as caught:
            tool(error)
        assert caught.value.code == f'tool.py: error: {text}'
    for error in (TypeError('unsupported operand'), KeyError('img_path')):
        with pytest.raises(type(error)):  # a mistake of the program
            tool(error)


def test_the_traceback_is_in_the_log(monkeypatch, tmp_path):
    monkeypatch.setattr('sys.argv', ['tool.py'])
    logger = MMLogger.get_instance('one line', log_file=str(tmp_path / 'run.log'), file_mode='w')
    monkeypatch.setattr(MMLogger, 'get_current_instance', lambda: logger)

    @one_line_errors()
    def tool():
        raise ValueError('wrong')

    with pytest.raises(SystemExit, match=r'tool\.py: error: wrong \(traceback in .*run\.log\)'):
        tool()
    text = (tmp_path / 'run.log').read_text()
    assert 'Traceback' in text and text.endswith('ValueError: wrong\n')
