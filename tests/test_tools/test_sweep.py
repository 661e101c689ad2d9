"""Trainings over seeds and settings; a stand-in for train.py does what a training would."""

import importlib.util
import json
import os
import shlex
import signal
import threading
import time

from wsol_mm.cli.sweep import RECORD, read_record, run_sweep, sweep_runs
from wsol_mm.utils.process_lock import process_lock
from wsol_mm.utils.stop_signals import StopRequest

import pytest

# Fails with seed 1 unless it resumes; with seed 9 it works until it is stopped, and leaves a checkpoint.
TRAIN = """
import pathlib, signal, sys, time
words = sys.argv[1:]
folder, seed = pathlib.Path(words[words.index('--work-dir') + 1]), words[words.index('--seed') + 1]
with open(folder / 'calls', 'a') as calls:
    print(*words, file=calls)
if seed == '1' and '--resume' not in words:
    (folder / 'epoch_1.pth').touch()
    print('train.py: error: out of memory')
    print()
    sys.exit(1)
if seed == '5':
    if not (folder / 'epoch_1.pth').exists():
        print('this was the first start')
        (folder / 'epoch_1.pth').touch()
    sys.exit(1)
if seed == '9':
    def stop(number, frame):
        (folder / 'interrupted.pth').touch()
        sys.exit(128 + number)
    signal.signal(signal.SIGTERM, stop)
    (folder / 'ready').touch()
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a config and a train.py."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'my config.py').touch()
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools' / 'train.py').write_text(TRAIN)
    return tmp_path


@pytest.fixture
def sweep(place, repo_dir, monkeypatch, capsys):
    """Run tools/sweep.py with that train.py; give its exit status and what it printed."""
    spec = importlib.util.spec_from_file_location('sweep', repo_dir / 'tools' / 'sweep.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, 'TOOLS', place / 'tools')

    def run(*arguments):
        monkeypatch.setattr('sys.argv', ['sweep.py', 'my config.py', *arguments])
        capsys.readouterr()
        try:
            module.main()
            status = 0
        except SystemExit as error:
            status = error.code
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def test_every_combination_has_a_folder_of_its_own(tmp_path):
    grid = {'optim_wrapper.optimizer.lr': ['1e-4', '5e-5'], 'model.head.x': ['1']}
    runs = sweep_runs('c/a.py', [0, 3], grid, tmp_path, ['--amp'])
    names = ['a_lr-1e-4_x-1_seed0', 'a_lr-1e-4_x-1_seed3', 'a_lr-5e-5_x-1_seed0', 'a_lr-5e-5_x-1_seed3']
    assert [run.folder for run in runs] == [tmp_path / name for name in names]
    settings = ['--cfg-options', 'optim_wrapper.optimizer.lr=5e-5', 'model.head.x=1']
    assert runs[-1].arguments == ['c/a.py', '--seed', '3', '--amp', *settings]
    (run,) = sweep_runs('c/a.py', [], {}, tmp_path)
    assert run.folder.name == 'a' and run.arguments == ['c/a.py']


def test_folders_of_values_that_are_no_names(tmp_path):
    values = ['[1,2]', '(1,2)', '/a/b', 'x' * 300, 'x' * 299 + 'y', 'a b', 'a-b', '日本']
    runs = sweep_runs('a.py', [0], {'m.x': values, 'n.x': ['1', '2']}, tmp_path)
    names = {run.folder.name for run in runs}
    assert len(names) == 16 and all(len(os.fsencode(name)) < 200 and '/' not in name for name in names)
    assert any(name.startswith('a_m.x-a-b_n.x-1_seed0') for name in names), 'the short name would be of both'
    assert {run.folder.parent for run in runs} == {tmp_path}


def test_what_fails_does_not_stop_the_others_and_is_resumed(sweep, place):
    status, printed = sweep('--seeds', '0-2', '--work-dir', 'w', '--', '--epochs', '3')
    assert status == 1
    lines = printed.splitlines()
    assert lines[0].startswith('[1/3] my-config-') and '_seed0: finished in 0.0 min' in lines[0]
    assert '_seed1: status 1 after 0.0 min: train.py: error: out of memory' in lines[1]
    assert '[3/3]' in lines[2] and lines[3].startswith('1 of 3 failed')
    assert lines[4].startswith('  w/my-config-') and len(lines) == 5
    status, printed = sweep('--seeds', '0-3', '--work-dir', 'w', '--dry-run', '--', '--epochs', '3')
    commands = [shlex.split(line) for line in printed.splitlines()]
    assert status == 0 and [command[command.index('--seed') + 1] for command in commands] == ['1', '3']
    assert [command[-1] for command in commands] == ['--resume', '3']
    status, printed = sweep('--seeds', '0-3', '--work-dir', 'w', '--', '--epochs', '3')
    assert status == 0
    assert [line.partition(': ')[2] for line in printed.splitlines()] == [
        'finished before',
        'finished in 0.0 min, resumed',
        'finished before',
        'finished in 0.0 min',
    ]
    (folder,) = place.glob('w/*seed1')
    calls = folder.joinpath('calls').read_text().splitlines()
    assert calls[0] == f'my config.py --work-dir {folder.relative_to(place)} --seed 1 --epochs 3'
    assert calls[1:] == [f'{calls[0]} --resume']


def test_what_every_start_printed_is_kept(sweep, place):
    _, first = sweep('--seeds', '5', '--work-dir', 'w')
    _, second = sweep('--seeds', '5', '--work-dir', 'w')
    (folder,) = place.glob('w/*seed5')
    assert 'this was the first start' in first
    assert (folder / 'output.txt').read_text() == 'this was the first start\n'
    assert ', resumed: it printed nothing' in second  # the line is of another start


def test_no_training_is_left_behind_by_an_error(place):
    class Broken:
        @property
        def number(self):
            if list(place.glob('w/*/ready')):
                raise MemoryError
            return 0

    runs = sweep_runs('my config.py', [9], {}, place / 'w')
    with pytest.raises(MemoryError):
        list(run_sweep(runs, place / 'tools', None, Broken()))
    assert (runs[0].folder / 'interrupted.pth').exists()  # it was told to stop, and waited for


def test_a_signal_is_passed_on_and_the_same_command_goes_on(sweep, place):
    def terminate():
        while not list(place.glob('w/*/ready')):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=terminate)
    thread.start()
    status, printed = sweep('--seeds', '9,0', '--work-dir', 'w')
    thread.join()
    assert status == 143 and printed.splitlines()[-1] == 'Stopped: the same command goes on'
    assert '_seed9: status 143' in printed and '_seed0' not in printed
    (folder,) = place.glob('w/*')
    assert (folder / 'interrupted.pth').exists()
    assert json.loads((folder / RECORD).read_text())['status'] == 143
    _, printed = sweep('--seeds', '9,0', '--work-dir', 'w', '--dry-run')
    assert printed.splitlines()[0].endswith('--resume') and '--resume' not in printed.splitlines()[1]


def test_a_training_that_another_process_is_at(place):
    runs = sweep_runs('my config.py', [0], {}, place / 'w')
    runs[0].folder.mkdir(parents=True)
    pid = os.fork()  # POSIX locks are of a process
    if not pid:
        with process_lock(runs[0].folder / '.sweep.lock'):
            (place / 'held').touch()
            time.sleep(60)
        os._exit(0)
    try:
        while not (place / 'held').exists():
            time.sleep(0.01)
        ((_, end),) = run_sweep(runs, place / 'tools', None, StopRequest())
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert end.status is None and end.text == 'another process is at it'
    assert not (runs[0].folder / 'calls').exists()


def test_another_training_in_the_same_folder_is_refused(sweep, place):
    assert sweep('--seeds', '0', '--work-dir', 'w')[0] == 0
    status, _ = sweep('--seeds', '0', '--work-dir', 'w', '--', '--amp')
    assert 'sweep.json: expected a training with {' in status and 'Another --work-dir keeps both' in status
    status, _ = sweep('--seeds', '0', '--work-dir', 'w', '--gpus', '2')
    assert "'processes': 2}, got {" in status
    (run,) = sweep_runs('my config.py', [4], {}, place / 'w')
    run.folder.mkdir()
    (run.folder / 'epoch_3.pth').touch()
    with pytest.raises(ValueError, match=r'sweep.json: expected the note of a sweep beside the checkpoints'):
        read_record(run, None)


def test_gpus(sweep):
    _, printed = sweep('--seeds', '0', '--gpus', '2', '--dry-run', '--', '--amp')
    words = shlex.split(printed)
    assert words[0] == 'bash' and words[1].endswith('tools/dist_train.sh')
    assert words[2:4] == ['my config.py', '2'] and words[-3:] == ['--seed', '0', '--amp']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--seeds', '4-0'], "--seeds: expected seeds as in 0-4 or 0,2,7, up to 100 in a range, got '4-0'"),
        (['--seeds', '0-999'], "got '0-999'"),
        (['--seeds', '0-2,1'], "--seeds: expected each seed once, got '0-2,1'"),
        (['--grid', 'lr'], "--grid: expected KEY=VALUE,... with different values, got 'lr'"),
        (['--grid', 'lr=1,1'], "got 'lr=1,1'"),
        (['--grid', 'lr=1,,2'], "got 'lr=1,,2'"),
        (['--grid', 'lr=[1,2'], '--grid: lr: expected brackets and quotes that match'),
        (['--grid', 'lr=1', 'lr=2'], '--grid: expected each setting once, got lr, lr'),
        (['--', '--seed', '3'], 'expected none of --work-dir, --seed, --resume, got --seed'),
        (['--', '--work-dir=x'], 'got --work-dir=x'),
    ],
)
def test_arguments_that_do_not_fit(sweep, options, message):
    status, printed = sweep(*options)
    assert status == 2 and message in printed and printed.count('\n') == 1


@pytest.mark.slow
def test_real_trainings(micro_project):
    options = ['--seeds', '0', '--grid', 'optim_wrapper.optimizer.lr=1e-3,nonsense', '--work-dir', 'sweep']
    result = micro_project.run('sweep.py', micro_project.config, *options, '--', '--no-validate')
    assert result.returncode == 1, result.stdout + result.stderr
    first, second, *_ = result.stdout.splitlines()
    assert '_lr-1e-3-' in first and 'finished in' in first
    assert '_lr-nonsense-' in second and 'status 1' in second
    assert list((micro_project.folder / 'sweep').glob('*lr-1e-3*/epoch_1.pth'))
