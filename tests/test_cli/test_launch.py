"""Process groups and model wrappers of runs without a GPU."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from wsol_mm.cli import launch
from wsol_mm.cli.launch import init_gloo, prepare_launch

import pytest
import torch
from mmengine.config import Config

VARIABLES = {
    'pytorch': dict(RANK='3', WORLD_SIZE='4', LOCAL_RANK='1', MASTER_ADDR='10.0.0.1', MASTER_PORT='1234'),
    'slurm': dict(SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_LOCALID='1', SLURM_NODELIST='node[07-08]'),
    'mpi': dict(
        OMPI_COMM_WORLD_RANK='3',
        OMPI_COMM_WORLD_SIZE='4',
        OMPI_COMM_WORLD_LOCAL_RANK='1',
        MASTER_ADDR='10.0.0.1',
    ),
}
RESULTS = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')


@pytest.fixture
def groups(monkeypatch, tmp_path) -> list[dict]:
    """Record process groups instead of making them; no GPU, no launcher, and a stand-in for scontrol."""
    made = []
    monkeypatch.setattr(torch.distributed, 'init_process_group', lambda **options: made.append(options))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for name in RESULTS:
        # setenv before delenv: what the code under test sets is then undone.
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    (tmp_path / 'scontrol').write_text('#!/bin/sh\n[ "$*" = "show hostnames node[07-08]" ] && echo node07\n')
    (tmp_path / 'scontrol').chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    return made


@pytest.mark.parametrize(
    ('launcher', 'address', 'port'),
    [('pytorch', '10.0.0.1', '1234'), ('slurm', 'node07', '29500'), ('mpi', '10.0.0.1', '29500')],
)
def test_launchers_on_cpu_use_gloo(groups, monkeypatch, launcher, address, port):
    for name, value in VARIABLES[launcher].items():
        monkeypatch.setenv(name, value)
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=60))))
    prepare_launch(cfg, launcher)
    assert cfg.launcher == launcher
    assert cfg.env_cfg.dist_cfg.backend == 'gloo'
    assert groups == [dict(backend='gloo', timeout=timedelta(seconds=60))]
    assert [launch.os.environ[name] for name in RESULTS] == ['3', '4', '1', address, port]
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=False,
        device_ids=None,
    )


def test_wrapper_of_the_config_is_kept(groups, monkeypatch):
    for name, value in VARIABLES['pytorch'].items():
        monkeypatch.setenv(name, value)
    cfg = Config(dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', static_graph=True)))
    prepare_launch(cfg, 'pytorch')
    assert cfg.model_wrapper_cfg == dict(type='MMDistributedDataParallel', static_graph=True, device_ids=None)
    cfg = Config(dict(find_unused_parameters=True))
    prepare_launch(cfg, 'pytorch')
    assert cfg.model_wrapper_cfg.find_unused_parameters is True


def test_one_process_makes_no_group(groups):
    cfg = Config(dict())
    prepare_launch(cfg, 'none')
    assert groups == []
    assert cfg.launcher == 'none'
    assert 'model_wrapper_cfg' not in cfg


def test_with_a_gpu_the_runner_makes_the_group(groups, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    cfg = Config(dict(env_cfg=dict(dist_cfg=dict(backend='nccl'))))
    prepare_launch(cfg, 'pytorch')
    assert groups == []
    assert cfg.env_cfg.dist_cfg.backend == 'nccl'
    assert 'model_wrapper_cfg' not in cfg


def test_an_existing_group_is_left_alone(groups, monkeypatch):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    init_gloo('pytorch')
    assert groups == []


@pytest.mark.parametrize(
    ('launcher', 'missing'),
    [
        ('pytorch', 'RANK'),
        ('pytorch', 'MASTER_ADDR'),
        ('slurm', 'SLURM_LOCALID'),
        ('slurm', 'SLURM_NODELIST'),
        ('mpi', 'MASTER_ADDR'),
    ],
)
def test_names_the_variable_that_the_launcher_did_not_set(groups, monkeypatch, launcher, missing):
    for name, value in VARIABLES[launcher].items():
        if name != missing:
            monkeypatch.setenv(name, value)
    with pytest.raises(
        RuntimeError, match=f'launcher {launcher}: expected the environment variable {missing}, got none'
    ):
        prepare_launch(Config(dict()), launcher)
    assert groups == []


def test_refuses_an_unknown_launcher():
    with pytest.raises(ValueError, match="launcher: expected one of none, pytorch, slurm, mpi, got 'ssh'"):
        prepare_launch(Config(dict()), 'ssh')


# A model in a reference cycle with its wrapper, as the runner's parts are.
FINISHED_RUN = """
from pathlib import Path
from wsol_mm.cli.launch import finish_launch, init_gloo
import torch

def gloo_threads():
    return sum('gloo' in file.read_text() for file in Path('/proc/self/task').glob('*/comm'))

init_gloo('pytorch')
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
model.module.__dict__['wrapper'] = model
before = gloo_threads()
del model
finish_launch()
print(before > 0, gloo_threads())
"""


@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='threads are listed in /proc on Linux only')
def test_no_gloo_thread_is_left_at_the_end(repo_dir):
    variables = dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1', MASTER_PORT='0')
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', FINISHED_RUN],
        cwd=repo_dir,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ['True', '0']


@pytest.mark.parametrize(('deterministic', 'expected'), [(True, ':4096:8'), (False, None)])
def test_deterministic_runs_set_up_cublas(monkeypatch, deterministic, expected):
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
    prepare_launch(Config(dict(randomness=dict(deterministic=deterministic))), 'none')
    found = launch.os.environ.get('CUBLAS_WORKSPACE_CONFIG')
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
    assert found == expected
    if deterministic:
        monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':16:8')
        prepare_launch(Config(dict(randomness=dict(deterministic=True))), 'none')
        assert launch.os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':16:8'
