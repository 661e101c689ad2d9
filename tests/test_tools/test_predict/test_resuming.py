"""Boxes for a folder: what is left of a kill, and who may go on."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from wsol_mm.apis import folder_prediction
from wsol_mm.apis.prediction_journal import PredictionJournal

import pytest

from ..conftest import CLASSES
from .conftest import write_photos


def test_one_process_at_a_time_and_an_interrupt(predict, tmp_path, monkeypatch):
    out, others = tmp_path / 'a.json', []
    append = PredictionJournal.append

    def interrupted(journal, results):
        append(journal, results)
        # POSIX locks are of a process: another one is needed to meet it.
        code = "import fcntl, sys\nfcntl.lockf(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        command = [sys.executable, '-c', code, f'{out}.lock']
        others.append(subprocess.run(command, capture_output=True, text=True).stderr)
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(PredictionJournal, 'append', interrupted)
        status, printed = predict('--out', out, '--batch-size', 7)
    assert status == 130 and printed.splitlines()[-1] == 'predict.py: stopped; the same command resumes'
    assert 'BlockingIOError' in others[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.json.journal']
    assert predict('--out', out)[0] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.json', 'a.json.broken.txt']


class Prediction:
    """The tool in a process of its own, which can be killed once it has come so far."""

    def __init__(self, project, checkpoint, folder, out, *options):
        self.out = out
        self.command = [
            sys.executable,
            str(project.repo / 'tools' / 'predict.py'),
            *map(str, (project.config, checkpoint, folder, '--out', out, '--device', 'cpu', *options)),
        ]
        path = f'{project.repo}{os.pathsep}{project.folder}'
        self.environment = os.environ | {'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(
            self.command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def finish(self) -> tuple[int, str]:
        process = self.start()
        printed = process.communicate()[0]
        return process.returncode, printed

    def batches_done(self) -> int:
        file = Path(f'{self.out}.journal') / 'batches.jsonl'
        return file.read_bytes().count(b'\n') if file.is_file() else 0

    def kill_after(self, batches: int) -> int:
        """Kill -9 once so many batches are in the journal; return how many there are then."""
        process = self.start()
        while self.batches_done() < batches:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, 'finished before it was killed'
        assert not self.out.exists()
        return self.batches_done()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()
    }


def assert_same_files(folder: Path, expected_folder: Path) -> None:
    """Compare every byte of two folders."""
    found, expected = contents(folder), contents(expected_folder)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


def test_killed_twice_it_ends_as_if_left_in_peace(
    predict, micro_project, checkpoint, photos, tmp_path, one_thread
):
    calm = ['--batch-size', 2, '--save-maps', tmp_path / 'calm' / 'maps']
    assert predict('--out', tmp_path / 'calm' / 'a.json', *calm)[0] == 3

    out = tmp_path / 'killed' / 'a.json'
    options = ['--batch-size', 2, '--save-maps', tmp_path / 'killed' / 'maps']
    killed = Prediction(micro_project, checkpoint, photos, out, *options, '--num-workers', 0)
    assert 3 <= killed.kill_after(3) < 20
    assert 9 <= killed.kill_after(9) < 20
    status, printed = predict('--out', out, *options)
    assert status == 3 and '36 boxes in 36 images' in printed
    assert_same_files(tmp_path / 'killed', tmp_path / 'calm')


@pytest.mark.slow
def test_killed_at_random_five_times_on_a_thousand_images(micro_project, checkpoint, tmp_path):
    folder = tmp_path / 'photos'
    write_photos(folder, 1000)
    seed = random.randrange(10**6)
    print('seed', seed)
    runs = {}
    for name in ('calm', 'killed'):
        options = ['--batch-size', 2, '--num-workers', 2, '--save-maps', tmp_path / 'out' / name / 'maps']
        out = tmp_path / 'out' / name / 'a.json'
        runs[name] = Prediction(micro_project, checkpoint, folder, out, *options)
    assert runs['calm'].finish()[0] == 3
    targets = sorted(random.Random(seed).sample(range(1, 480), 5))
    print('killed after', [runs['killed'].kill_after(target) for target in targets], 'of 500 batches')
    assert runs['killed'].finish()[0] == 3
    assert_same_files(tmp_path / 'out' / 'killed', tmp_path / 'out' / 'calm')


@pytest.fixture
def interrupted(tool, predict, tmp_path, monkeypatch):
    """A prediction that fell over after three batches of seven images."""
    append = []

    def failing(journal, results):
        if len(append) == 3:
            raise OSError('disk full')
        append.append(results)
        original(journal, results)

    original = PredictionJournal.append
    with monkeypatch.context() as context:
        context.setattr(PredictionJournal, 'append', failing)
        options = ['--out', tmp_path / 'a.json', '--batch-size', 7]
        assert 'disk full' in predict(*options)[0]
    return tmp_path / 'a.json', options


def test_other_settings_are_refused(predict, interrupted):
    _, options = interrupted
    for others, message in (
        (['--topk', 2], 'topk (was 1, now 2)'),
        (['--threshold', 0.2], 'others: protocol.thresholds (was [0.1], now [0.2]). Resume'),
        (['--test-pipeline'], 'others: transforms'),
    ):
        status, _ = predict(*options, *others)
        assert 'expected the settings that the work was begun with' in status and message in status
    # A batch size is no setting: the images go on with another one.
    assert predict(*options, '--batch-size', 3)[0] == 3


def test_images_that_come_and_go_in_the_meantime(predict, interrupted, photos):
    """The list was made at the start: what goes is broken, and what comes is for the next run."""
    out, options = interrupted
    gone, new = photos / CLASSES[2] / '0038.png', photos / CLASSES[0] / '0000 new.png'
    content = gone.read_bytes()
    gone.rename(new)
    try:
        assert predict(*options)[0] == 3
    finally:
        new.unlink()
        gone.write_bytes(content)
    listed = [image['file_name'] for image in json.loads(out.read_text())['images']]
    assert len(listed) == 35 and '001.Red/0000 new.png' not in listed
    assert '003.Blue/0038.png\t' in Path(f'{out}.broken.txt').read_text()


def test_output_that_appears_in_the_meantime_is_kept(predict, interrupted):
    out, options = interrupted
    out.write_text('mine')
    assert 'a.json: expected a path that does not exist' in predict(*options)[0]
    assert out.read_text() == 'mine'
    out.unlink()
    assert predict(*options)[0] == 3


@pytest.mark.parametrize('function', ['publish_annotations', 'summarize'])
def test_stopped_while_writing(predict, tmp_path, monkeypatch, function):
    """Before the annotations are in their place, and between that and the removal of the journal."""

    def failing(*_):
        raise OSError('stopped')

    options = ['--format', 'yolo', '--out']
    assert predict(*options, tmp_path / 'calm')[0] == 3
    with monkeypatch.context() as context:
        context.setattr(folder_prediction, function, failing)
        assert 'stopped' in predict(*options, tmp_path / 'stopped')[0]
    assert (tmp_path / 'stopped').exists() == (function == 'summarize')
    assert predict(*options, tmp_path / 'stopped')[0] == 3
    assert contents(tmp_path / 'stopped') == contents(tmp_path / 'calm')
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'calm', 'calm.broken.txt', 'stopped', 'stopped.broken.txt',
    ]  # fmt: skip
