"""The shell scripts that start several processes: what they call, with stand-ins for Python and srun."""

import os
import subprocess
from pathlib import Path

import pytest

# Prints what it was called with, an argument a line.
STAND_IN = """#!/bin/sh
printf '%s\\n' "$@" "PYTHONPATH=$PYTHONPATH" "OMP_NUM_THREADS=$OMP_NUM_THREADS" "MASTER_PORT=$MASTER_PORT"
"""

# Prints a number as sbatch --parsable does, and keeps what it was called with and the script.
SBATCH = """#!/bin/sh
number=$(ls | wc -l)
{ printf '%s\\n' "$@"; cat; } > "sbatch $number"
echo "1$number;cluster"
"""


@pytest.fixture
def programs(tmp_path) -> Path:
    """Folder with stand-ins for python, srun and sbatch."""
    folder = tmp_path / 'bin folder'
    folder.mkdir()
    for name, script in (('python', STAND_IN), ('srun', STAND_IN), ('sbatch', SBATCH)):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def launch(tmp_path, repo_dir, programs):
    """Return a function that runs a script of tools/ in an empty folder, among the stand-ins."""

    def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        variables = {
            'PATH': f'{programs}:{os.environ["PATH"]}',
            'PYTHON': str(programs / 'python'),
            **environment,
        }
        return subprocess.run(
            ['bash', str(repo_dir / 'tools' / script), *arguments],
            cwd=tmp_path,
            env=variables | environment,
            capture_output=True,
            text=True,
        )

    return run


def test_dist_train_passes_every_argument_whole(launch, repo_dir):
    options = ['--work-dir', 'my dir', '--cfg-options', 'a="[1, 2]"', '--resume']
    result = launch('dist_train.sh', 'my config.py', '2', *options)
    assert result.returncode == 0, result.stderr
    *called, python_path, threads, _ = result.stdout.splitlines()
    assert called == [
        '-m',
        'torch.distributed.run',
        '--nnodes=1',
        '--node_rank=0',
        '--master_addr=127.0.0.1',
        '--master_port=29500',
        '--nproc_per_node=2',
        str(repo_dir / 'tools' / 'train.py'),
        'my config.py',
        *options,
        '--launcher',
        'pytorch',
    ]
    assert python_path == f'PYTHONPATH={repo_dir}'
    assert int(threads.partition('=')[2]) >= 1


def test_dist_test_honours_the_environment(launch, repo_dir):
    result = launch(
        'dist_test.sh',
        'config.py',
        'my checkpoint.pth',
        '4',
        '--out',
        'metrics.json',
        NNODES='3',
        NODE_RANK='2',
        MASTER_ADDR='10.0.0.7',
        PORT='12345',
        PYTHONPATH='/elsewhere',
        OMP_NUM_THREADS='7',
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[2:] == [
        '--nnodes=3',
        '--node_rank=2',
        '--master_addr=10.0.0.7',
        '--master_port=12345',
        '--nproc_per_node=4',
        str(repo_dir / 'tools' / 'test.py'),
        'config.py',
        'my checkpoint.pth',
        '--out',
        'metrics.json',
        '--launcher',
        'pytorch',
        f'PYTHONPATH={repo_dir}:/elsewhere',
        'OMP_NUM_THREADS=7',
        'MASTER_PORT=',
    ]


def test_slurm_train(launch, repo_dir, programs):
    result = launch(
        'slurm_train.sh',
        'my partition',
        'my job',
        'my config.py',
        'my work dir',
        '--amp',
        GPUS='16',
        CPUS_PER_TASK='3',
        SRUN_ARGS='--quotatype=spot --time=60',
        PORT='23456',
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        '--partition=my partition',
        '--job-name=my job',
        '--gres=gpu:8',
        '--ntasks=16',
        '--ntasks-per-node=8',
        '--cpus-per-task=3',
        '--kill-on-bad-exit=1',
        '--quotatype=spot',
        '--time=60',
        str(programs / 'python'),
        '-u',
        str(repo_dir / 'tools' / 'train.py'),
        'my config.py',
        '--work-dir',
        'my work dir',
        '--amp',
        '--launcher',
        'slurm',
        f'PYTHONPATH={repo_dir}',
        'OMP_NUM_THREADS=',
        'MASTER_PORT=23456',
    ]


def test_slurm_train_without_work_dir_on_part_of_a_node(launch, repo_dir):
    result = launch('slurm_train.sh', 'partition', 'job', 'config.py', '--amp', GPUS='2')
    assert result.returncode == 0, result.stderr
    called = result.stdout.splitlines()
    assert called[2:6] == ['--gres=gpu:2', '--ntasks=2', '--ntasks-per-node=2', '--cpus-per-task=5']
    assert called[called.index('-u') + 1 : -3] == [
        str(repo_dir / 'tools' / 'train.py'),
        'config.py',
        '--amp',
        '--launcher',
        'slurm',
    ]


def test_slurm_trains_seeds(launch):
    result = launch('slurm_train.sh', 'partition', 'job', 'configs/a/my config.py', '--amp', SEEDS='0-1,7')
    assert result.returncode == 0, result.stderr
    called = result.stdout.splitlines()
    for seed in ('0', '1', '7'):
        assert f'--job-name=job_{seed}' in called and f'work_dirs/my config_seed{seed}' in called
        assert f'MASTER_PORT={29500 + int(seed)}' in called
    assert called.count('--seed') == called.count('--amp') == 3
    given = launch('slurm_train.sh', 'partition', 'job', 'config.py', 'my dir', SEEDS='3').stdout.splitlines()
    assert given[given.index('--work-dir') + 1] == 'my dir_seed3' and given[given.index('--seed') + 1] == '3'


def test_a_seed_that_fails_is_the_status_of_all(launch, programs):
    (programs / 'srun').write_text('#!/bin/sh\ncase "$*" in *job_1*) exit 7;; esac\n')
    assert launch('slurm_train.sh', 'partition', 'job', 'config.py', SEEDS='0-2').returncode == 7


@pytest.mark.parametrize('seeds', ['a', '3-1', '1-', '0-1000', '1;2'])
def test_wrong_seeds(launch, seeds):
    result = launch('slurm_train.sh', 'partition', 'job', 'config.py', SEEDS=seeds)
    assert result.returncode == 2 and 'slurm_train.sh: error: SEEDS: expected ' in result.stderr
    assert not result.stdout


def test_slurm_test(launch, repo_dir):
    result = launch(
        'slurm_test.sh', 'partition', 'job', 'config.py', 'my checkpoint.pth', '--show-dir', 'my pictures'
    )
    assert result.returncode == 0, result.stderr
    called = result.stdout.splitlines()
    assert called[called.index('-u') + 1 : -3] == [
        str(repo_dir / 'tools' / 'test.py'),
        'config.py',
        'my checkpoint.pth',
        '--show-dir',
        'my pictures',
        '--launcher',
        'slurm',
    ]


def test_dist_predict(launch, repo_dir):
    result = launch('dist_predict.sh', 'config.py', 'a.pth', 'my photos', '2', '--out', 'a.json')
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[6:-3] == [
        '--nproc_per_node=2',
        '--max-restarts=3',
        str(repo_dir / 'tools' / 'predict.py'),
        *('config.py', 'a.pth', 'my photos', '--out', 'a.json'),
        *('--launcher', 'pytorch'),
    ]
    result = launch('dist_predict.sh', 'config.py', 'a.pth', 'photos', '2', '--out', 'b', MAX_RESTARTS='9')
    assert '--max-restarts=9' in result.stdout.splitlines()


def test_slurm_predict(launch, repo_dir, programs, tmp_path):
    arguments = ['config.py', 'a.pth', 'my "photos"', '--out', "it's.json", '--topk', '2']
    result = launch(
        'slurm_predict.sh', 'fast', 'my job', *arguments, SHARDS='12', SBATCH_ARGS='--time=60 --mem=8G'
    )
    assert result.returncode == 0, result.stderr
    array, merge = ((tmp_path / f'sbatch {number}').read_text().splitlines() for number in (1, 2))
    assert array[:9] == [
        '--parsable',
        '--partition=fast',
        '--job-name=my job',
        '--array=1-12',
        '--gres=gpu:1',
        '--cpus-per-task=5',
        '--requeue',
        '--time=60',
        '--mem=8G',
    ]
    assert merge[:4] == [
        '--partition=fast', '--job-name=my job-merge', '--cpus-per-task=1', '--dependency=afterany:11',
    ]  # fmt: skip
    # The scripts of the jobs, as Slurm would run them.
    for script, called in (
        (array[9:], [str(repo_dir / 'tools' / 'predict.py'), *arguments, '--shard', '7/12']),
        (merge[4:], [str(repo_dir / 'tools' / 'misc' / 'merge_predictions.py'), "it's.json"]),
    ):
        assert script[0] == '#!/usr/bin/env bash'
        environment = os.environ | {'SLURM_ARRAY_TASK_ID': '7'}
        job = subprocess.run(
            ['bash'], input='\n'.join(script), env=environment, capture_output=True, text=True, check=True
        )
        assert job.stdout.splitlines()[:-3] == ['-u', *called]
    assert launch('slurm_predict.sh', 'fast', 'job', *arguments[:3], '--out=a.json').returncode == 0


DIST_TRAIN = ('dist_train.sh', 'config.py')
SLURM_TEST = ('slurm_test.sh', 'partition', 'job', 'config.py')
DIST_PREDICT = ('dist_predict.sh', 'config.py', 'a.pth', 'photos')
SLURM_PREDICT = ('slurm_predict.sh', 'partition', 'job', 'config.py', 'a.pth', 'photos')


@pytest.mark.parametrize(
    ('arguments', 'environment', 'message'),
    [
        (DIST_TRAIN, {}, 'usage: bash tools/dist_train.sh CONFIG GPUS [options'),
        ((*DIST_TRAIN, '--amp'), {}, "GPUS: expected a whole number from 1, got '--amp'"),
        ((*DIST_TRAIN, '0'), {}, "GPUS: expected a whole number from 1, got '0'"),
        ((*DIST_TRAIN, '1'), {'NNODES': '2x'}, "NNODES: expected a whole number from 1, got '2x'"),
        ((*DIST_TRAIN, '1'), {'PORT': 'x'}, "PORT: expected a whole number from 1, got 'x'"),
        ((*DIST_TRAIN, '1'), {'PYTHON': '/no/python'}, "expected a Python, got nothing at '/no/python'"),
        (('dist_test.sh', 'config.py', 'a.pth'), {}, 'usage: bash tools/dist_test.sh CONFIG CHECKPOINT GPUS'),
        (('slurm_train.sh', 'partition', 'job'), {}, 'usage: bash tools/slurm_train.sh PARTITION JOB_NAME'),
        (SLURM_TEST, {}, 'usage: bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options'),
        (
            DIST_PREDICT,
            {},
            'usage: bash tools/dist_predict.sh CONFIG CHECKPOINT FOLDER GPUS --out OUT [options',
        ),
        ((*DIST_PREDICT, '--out'), {}, "GPUS: expected a whole number from 1, got '--out'"),
        (
            (*DIST_PREDICT, '1'),
            {'MAX_RESTARTS': 'x'},
            "MAX_RESTARTS: expected a whole number from 0, got 'x'",
        ),
        (SLURM_PREDICT, {}, 'usage: bash tools/slurm_predict.sh PARTITION JOB_NAME CONFIG CHECKPOINT FOLDER'),
        ((*SLURM_PREDICT, '--out'), {}, 'usage: bash tools/slurm_predict.sh PARTITION JOB_NAME CONFIG'),
        (
            (*SLURM_PREDICT, '--out', 'a'),
            {'SHARDS': '0'},
            "SHARDS: expected a whole number from 1, got '0'",
        ),
        ((*SLURM_TEST, 'a.pth'), {'GPUS': 'all'}, "GPUS: expected a whole number from 1, got 'all'"),
    ],
)
def test_wrong_use_is_one_line(launch, arguments, environment, message):
    result = launch(*arguments, **environment)
    assert result.returncode == 2
    assert result.stderr.startswith(f'{arguments[0]}: error: {message}')
    assert result.stderr.count('\n') == 1


def test_python_of_the_active_environment_comes_before_the_one_on_path(launch, tmp_path, programs):
    (tmp_path / 'environment').mkdir()
    programs.rename(tmp_path / 'environment' / 'bin')
    result = launch('dist_train.sh', 'config.py', '1', PYTHON='', VIRTUAL_ENV=str(tmp_path / 'environment'))
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith('-m\ntorch.distributed.run\n')


def test_scripts_parse(repo_dir):
    scripts = [*(repo_dir / 'tools').glob('**/*.sh'), repo_dir / '.ci' / 'run']
    assert len(scripts) >= 8
    for script in scripts:
        subprocess.run(['bash', '-n', str(script)], check=True)
