"""Whole runs of prediction, test, feature cache and export that are broken off anywhere, and begun again."""

import errno
import os
import random
import re
import runpy
import shutil
import signal
import sys
import time
from typing import NamedTuple

# What the tools import: once, instead of in every child process.
import wsol_mm.apis.folder_prediction
import wsol_mm.datasets
import wsol_mm.deployment.export
import wsol_mm.engine
import wsol_mm.feature_cache.extraction
import wsol_mm.models
import wsol_mm.visualization  # noqa: F401
from tests.toy_training import break_off, count_changes, in_child
from wsol_mm.deployment.deployed_localizer import DeployedLocalizer
from wsol_mm.registry import MODELS
from wsol_mm.utils.safe_pickle import read_pickle

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

KINDS = ['kill', 'ENOSPC', 'EIO']
JOBS = ['predict', 'predict voc', 'test', 'cache', 'export']
#: What is written is that of 'export', but the model is recorded anew in each run, which takes seconds.
EXPORT_TOOLS = ['export_torch.py', 'export_onnx.py']
#: At random moments, of each of them.
KILLS = 100
# What may be left of a run that was broken off, until the next.
UNFINISHED = ('.journal', '.partial', '.lock')


class Job(NamedTuple):
    """A run that writes into a folder.

    Attributes:
        run: Runs it; what is there already is gone on with.
        expected: What is in the folder at the end, by name.
        changes: How many changes it makes to its folder.
        seconds: How long it takes.
    """

    run: object
    expected: dict
    changes: int
    seconds: float


def content_of(path):
    """Bytes of a file; of metrics all but how long they took, of predictions their values."""
    if path.suffix == '.pkl':
        samples = read_pickle(path)  # equal texts may be one object, or two
        return [{key: np.asarray(value).tolist() for key, value in sample.items()} for sample in samples]
    return re.sub(rb'"(data_)?time": [0-9.e-]+', b'', path.read_bytes())


def contents(folder):
    """What is in all files but those of a run that is not finished."""
    return {
        path.relative_to(folder).as_posix(): content_of(path)
        for path in sorted(folder.rglob('*'))
        if path.is_file()
        and not path.name.endswith('.part')
        and not any(part.endswith(UNFINISHED) for part in path.relative_to(folder).parts)
    }


@pytest.fixture(scope='module')
def runs(micro_project, tmp_path_factory):
    """Functions that run each job in a folder, in this process."""
    root = tmp_path_factory.mktemp('crashes')
    cfg = Config.fromfile(micro_project.config)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        model = MODELS.build(cfg.model)
        program_model = DeployedLocalizer(model.eval(), topk=1)
    good, photos = root / 'good.pth', root / 'photos'
    torch.save(model.state_dict(), good)
    for path in sorted((micro_project.folder / 'cub' / 'images').rglob('*.png'))[:8]:
        (photos / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, photos / path.parent.name)
    next(photos.rglob('*.png')).write_bytes(b'no image')
    program = wsol_mm.deployment.export.export_program(program_model, (32, 32))

    def tool(name, *words):
        def run(folder):
            torch.set_num_threads(1)
            os.chdir(root)
            sys.argv = [name, *(str(word).replace('FOLDER', str(folder)) for word in words)]
            try:
                runpy.run_path(str(micro_project.repo / 'tools' / name), run_name='__main__')
            except SystemExit as stop:
                if stop.code != 3:  # some image is none
                    raise

        return run

    def cache(folder):
        torch.set_num_threads(1)
        with DefaultScope.overwrite_default_scope('wsol_mm'):
            wsol_mm.feature_cache.extraction.extract_split(
                cfg, model, 'train', ['plain', 'flip'], folder, batch_size=2, num_workers=0, shard_size=4
            )

    def export(folder):
        wsol_mm.deployment.export.write_program(program, folder / 'a.pt2', {'a': 1})

    options = ['--batch-size', 2, '--num-workers', 0, '--device', 'cpu']
    predict = ['predict.py', micro_project.config, good, photos, *options]
    return {
        'predict': tool(*predict, '--out', 'FOLDER/a.json', '--save-maps', 'FOLDER/maps'),
        'predict voc': tool(*predict, '--out', 'FOLDER/voc', '--format', 'voc'),
        'test': tool(
            *('test.py', micro_project.config, good, '--work-dir', root / 'work'),
            *('--out', 'FOLDER/a.json', 'FOLDER/a.pkl'),
        ),
        'cache': cache,
        'export': export,
        **{
            name: tool(f'deployment/{name}', micro_project.config, good, '--out', f'FOLDER/model{suffix}')
            for name, suffix in zip(EXPORT_TOOLS, ('.pt2', '.onnx'), strict=True)
        },
    }


@pytest.fixture(scope='module')
def jobs(runs, tmp_path_factory):
    """The jobs by name, run once when they are first asked for."""
    known = {}

    def get(name):
        if name not in known:
            folder = tmp_path_factory.mktemp('calm') / 'run'
            folder.mkdir()
            started = time.monotonic()
            changes = count_changes(folder, lambda: runs[name](folder))
            known[name] = Job(runs[name], contents(folder), changes, time.monotonic() - started)
            assert known[name].expected and not list(folder.rglob('.*'))
        return known[name]

    return get


def check_rest(job, folder, what):
    """What has its final name is whole; the same call ends as if nothing had been, and leaves no more."""
    for name, content in contents(folder).items():
        if name in job.expected:
            assert content == job.expected[name], f'{what}: {name}'
    assert in_child(lambda: job.run(folder)) == 0, what
    assert contents(folder) == job.expected, what
    left = [path for path in folder.rglob('*') if path.name.endswith(('.part', *UNFINISHED))]
    assert not left, f'{what}: {left}'


def again(name, folder):
    """A second call of these goes on with what is there; the others refuse an output that exists."""
    return name in ('test', 'cache', 'export', *EXPORT_TOOLS) or not (
        (folder / 'a.json').exists() or (folder / 'voc').exists()
    )


def check_break(name, job, folder, number, kind):
    what = f'{name}: {kind} at change {number} of {job.changes}'
    folder.mkdir()
    error = None if kind == 'kill' else OSError(getattr(errno, kind), os.strerror(getattr(errno, kind)))
    status = break_off(folder, lambda: job.run(folder), number, error)
    # Removing what is not needed any more may fail without harm.
    assert status in ((-signal.SIGKILL,) if kind == 'kill' else (0, 1)), what
    check_rest_or_end(name, job, folder, what)
    shutil.rmtree(folder)


def check_rest_or_end(name, job, folder, what):
    finished = not again(name, folder) and not list(folder.glob('*.journal/settings.json'))
    if finished:
        assert contents(folder) == job.expected, what
        assert in_child(lambda: job.run(folder)) == 1, what  # the output is there
        assert contents(folder) == job.expected, what
        assert not list(folder.glob('*.journal')), what
    else:
        check_rest(job, folder, what)


@pytest.mark.parametrize('name', JOBS)
def test_broken_off_at_some_changes(jobs, tmp_path, name):
    job = jobs(name)
    places = random.Random(0).sample(range(job.changes), min(3, job.changes))
    for number, kind in zip(places, KINDS, strict=False):
        check_break(name, job, tmp_path / 'run', number, kind)


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', JOBS + EXPORT_TOOLS)
def test_broken_off_at_every_change(jobs, tmp_path, name, kind):
    job = jobs(name)
    print(f'{name}: {job.changes} changes')
    for number in range(job.changes):
        check_break(name, job, tmp_path / 'run', number, kind)


@pytest.mark.slow
@pytest.mark.parametrize('name', JOBS + EXPORT_TOOLS)
def test_killed_at_random_moments(jobs, tmp_path, name):
    """Runs are killed up to ten times on their way, and end as one that was left in peace."""
    job, folder, moments = jobs(name), tmp_path / 'run', random.Random(0)
    total = attempts = 0
    while total < KILLS:
        folder.mkdir()
        kills = 0
        while kills < 10 and total + kills < KILLS:
            moment = moments.uniform(0.05, 1) * job.seconds

            def run(moment=moment):
                signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
                signal.setitimer(signal.ITIMER_REAL, moment)
                job.run(folder)

            status = in_child(run)
            kills += status == -signal.SIGKILL
            if status >= 0 or not again(name, folder):
                break
        total, attempts = total + kills, attempts + 1
        check_rest_or_end(name, job, folder, f'{name}: attempt {attempts}, killed {kills} times')
        shutil.rmtree(folder)
    print(f'{name}: killed {total} times in {attempts} runs')
