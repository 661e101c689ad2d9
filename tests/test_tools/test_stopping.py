"""Stopped, locked and full: tools/train.py and tools/test.py as processes, in one line each."""

import errno
import os
import signal
import subprocess
import sys
import time

from wsol_mm.utils.process_lock import process_lock

import pytest
import torch
from mmengine.config import Config

HOLDER = """
import sys, time
from pathlib import Path
from wsol_mm.utils.process_lock import process_lock
with process_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(99)
"""


def test_two_trainings_in_one_work_directory(micro_project, run_here):
    folder = micro_project.folder / 'locked'
    folder.mkdir()
    # POSIX locks are of a process: another one must hold it.
    holder = subprocess.Popen(
        [sys.executable, '-c', HOLDER, str(folder / '.train.lock')],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {'PYTHONPATH': str(micro_project.repo)},
    )
    try:
        assert holder.stdout.readline() == 'held\n'
        with pytest.raises(SystemExit) as caught:
            run_here('train.py', micro_project.config, '--work-dir', 'locked')
    finally:
        holder.kill()
        holder.wait()
    assert 'locked/.train.lock: expected no other process at work, got one' in str(caught.value.code)
    assert [path.name for path in folder.iterdir()] == ['.train.lock']
    with process_lock(folder / '.train.lock'):
        pass


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_launcher(micro_project, tmp_path, processes, number):
    """As a scheduler sends it: to every process of the job."""
    tool = micro_project.repo / 'tools' / 'train.py'
    launcher = (
        [sys.executable, str(tool)]
        if processes == 1
        else [sys.executable, '-m', 'torch.distributed.run', f'--nproc_per_node={processes}', str(tool)]
    )
    options = [str(micro_project.config), '--work-dir', str(tmp_path / 'run'), '--no-validate']
    options += ['--launcher', 'none' if processes == 1 else 'pytorch']
    options += ['--cfg-options', 'train_cfg.max_epochs=2000']
    process = subprocess.Popen(
        launcher + options,
        cwd=micro_project.folder,
        env=os.environ | {'PYTHONPATH': str(micro_project.repo), 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / 'run' / 'last_checkpoint').exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    started = time.monotonic()
    os.killpg(process.pid, number)
    _, error = process.communicate(timeout=60)
    assert time.monotonic() - started < 30
    assert process.returncode == 128 + number if processes == 1 else process.returncode != 0, error[-2000:]
    assert (tmp_path / 'run' / 'interrupted.pth').is_file()


def listed_processes(*options):
    """Numbers of processes that run; those that nobody waits for do not."""
    listed = subprocess.run(['ps', '-o', 'pid=,stat=', *options], capture_output=True, text=True).stdout
    return [line.split()[0] for line in listed.splitlines() if not line.split()[1].startswith('Z')]


def kill_launcher(micro_project, tool, arguments, begun):
    """Start two processes, kill their launcher when there is a file, and wait until they have ended."""
    launcher = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2']
    paths = os.pathsep.join(map(str, (micro_project.repo, micro_project.folder)))
    process = subprocess.Popen(
        [*launcher, micro_project.repo / 'tools' / tool, *arguments, '--launcher', 'pytorch'],
        cwd=micro_project.folder,
        env=os.environ | {'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not begun.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    ranks = listed_processes('--ppid', str(process.pid))
    assert len(ranks) == 2
    process.kill()
    process.stderr.close()
    process.wait()
    deadline = time.monotonic() + 15
    while listed_processes('-p', ','.join(ranks)):
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
def test_ranks_of_a_training_whose_launcher_was_killed(micro_project, tmp_path):
    """They save, and end within seconds."""
    options = ['--no-validate', '--cfg-options', 'train_cfg.max_epochs=2000']
    arguments = [micro_project.config, '--work-dir', tmp_path, *options]
    kill_launcher(micro_project, 'train.py', arguments, tmp_path / 'last_checkpoint')
    assert (tmp_path / 'interrupted.pth').is_file()


WAITING_HOOK = """
import time
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class WaitingHook(Hook):
    def before_test_epoch(self, runner):
        Path(runner.work_dir, f'waits{runner.rank}').touch()
        time.sleep(600)
"""


@pytest.mark.slow
def test_ranks_of_a_test_whose_launcher_was_killed(micro_project, tmp_path):
    """In the middle of it, and they are not the ones that wait for each other."""
    from wsol_mm.registry import MODELS

    torch.save(MODELS.build(Config.fromfile(micro_project.config).model).state_dict(), tmp_path / 'a.pth')
    (micro_project.folder / 'waiting_hook.py').write_text(WAITING_HOOK)
    config = tmp_path / 'waits.py'
    hooks = "custom_imports = dict(imports=['waiting_hook'])\ncustom_hooks = [dict(type='WaitingHook')]\n"
    config.write_text(f'_base_ = {str(micro_project.config)!r}\n{hooks}')
    arguments = [config, tmp_path / 'a.pth', '--work-dir', tmp_path]
    kill_launcher(micro_project, 'test.py', arguments, tmp_path / 'waits1')


def test_metrics_are_printed_before_a_full_disk_stops(micro_project, run_here, monkeypatch, capsys, tmp_path):
    from wsol_mm.registry import MODELS
    from wsol_mm.utils import whole_files

    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(micro_project.config).model)
    torch.save(model.state_dict(), tmp_path / 'a.pth')

    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(whole_files, 'flush_to_disk', full)
    outputs = [str(tmp_path / 'out.json'), str(tmp_path / 'out.pkl')]
    with pytest.raises(SystemExit) as caught:
        run_here('test.py', micro_project.config, tmp_path / 'a.pth', '--work-dir', 'full', '--out', *outputs)
    assert f"[Errno 28] No space left on device: '{tmp_path}/out.json'" in str(caught.value.code)
    printed = capsys.readouterr()
    assert 'maxboxacc/MaxBoxAcc: ' in printed.out + printed.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.pth']


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_no_numbers(micro_project, run_here, tmp_path, value):
    """tools/test.py marks the metrics, tools/predict.py counts the images; both exit with status 3."""
    import json

    from wsol_mm.registry import MODELS

    model = MODELS.build(Config.fromfile(micro_project.config).model)
    with torch.no_grad():
        model.head.semantic_conv.weight.fill_(value)
    torch.save(model.state_dict(), tmp_path / 'a.pth')
    out = tmp_path / 'out.json'
    with pytest.raises(SystemExit) as caught:
        run_here('test.py', micro_project.config, tmp_path / 'a.pth', '--work-dir', 'nan', '--out', str(out))
    assert caught.value.code == 3
    assert set(json.loads(out.read_text()).values()) == {None}

    boxes, images = tmp_path / 'boxes.json', micro_project.folder / 'cub' / 'images' / '001.Red'
    options = ['--out', str(boxes), '--num-workers', '0', '--threshold', '0.4', '--protocol', 'ts_cam']
    with pytest.raises(SystemExit) as caught:
        run_here('predict.py', micro_project.config, tmp_path / 'a.pth', images, *options)
    assert caught.value.code == 3
    assert json.loads(boxes.read_text())['annotations'] == []
    lines = (tmp_path / 'boxes.json.broken.txt').read_text().splitlines()
    assert len(lines) == 7
    assert all('expected finite scores and maps of the model, got NaN or infinity' in line for line in lines)
