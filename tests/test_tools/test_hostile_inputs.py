"""Hostile and malformed files for every tool that takes one: one line each, in bounded time.

Mistakes in settings are in ``test_mistakes.py``, what would run as code is in ``test_nothing_executes.py``.
"""

import re
import shutil

# Not part of the time that an input takes.
import wsol_mm.apis.folder_prediction
import wsol_mm.deployment.export
import wsol_mm.models  # noqa: F401
from tests.hostile_inputs import boxes, checkpoints, configs, data_lists, results
from tests.test_tools.conftest import soon
from wsol_mm.registry import MODELS

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

CASES = [case for kind in (checkpoints, configs, data_lists, boxes, results) for case in kind.CASES]


@pytest.fixture(scope='module')
def project(micro_project):
    """A config over folders of images, weights, and a checkpoint of a training."""
    from wsol_mm.engine.runner import LocalizationRunner

    cfg = Config.fromfile(micro_project.config)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        weights = MODELS.build(cfg.model).state_dict()
    good = micro_project.folder / 'good.pth'
    torch.save(weights, good)
    folder = micro_project.folder / 'folder.py'
    folder.write_text(
        f'_base_ = {str(micro_project.config)!r}\n'
        "test_dataloader = dict(dataset=dict(_delete_=True, type='FolderDataset', "
        f"data_root={str(micro_project.folder / 'cub')!r}, data_prefix='images', test_mode=True, "
        'pipeline={{_base_.pipeline}}))\n'
    )
    cfg.work_dir = str(micro_project.folder / 'trained')
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    LocalizationRunner.from_cfg(cfg).train()
    contents = dict(
        weights=good.read_bytes(), training=(micro_project.folder / 'trained' / 'epoch_1.pth').read_bytes()
    )
    return micro_project, contents, {'CONFIG': micro_project.config, 'FOLDER': folder, 'GOOD': good}


def write_files(case, micro_project, contents, folder):
    cub = micro_project.folder / 'cub'
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.startswith('cub/'):
            for file in cub.glob('*.txt'):
                shutil.copy(file, path.parent)
            (path.parent / 'images').symlink_to(cub / 'images')
            content = content(path.read_bytes()) if callable(content) else content
        elif callable(content):
            content = content(contents)
        path.write_bytes(content)


@pytest.mark.parametrize('case', CASES, ids=[case.name for case in CASES])
def test_one_line(project, run_here, monkeypatch, capsys, tmp_path, case):
    micro_project, contents, known = project
    tool, *words = case.words.split()
    monkeypatch.syspath_prepend(micro_project.repo / 'tools' / tool.rpartition('/')[0])
    write_files(case, micro_project, contents, tmp_path)
    if '@images' in words:
        (tmp_path / 'images').symlink_to(micro_project.folder / 'cub' / 'images')
    before = {path for path in tmp_path.rglob('*')}
    words = [str(known.get(word, word)).replace('@', f'{tmp_path}/') for word in words]
    with soon(), pytest.raises(SystemExit) as caught:
        run_here(tool, *words)
    text = caught.value.code
    if text == 2:  # of argparse, which prints
        text = capsys.readouterr().err.strip().splitlines()[-1]
    assert isinstance(text, str), text
    assert '\n' not in text and len(text) < 5000, text
    assert re.search(case.message, text), text
    # What is written is the log of a run, in its folder.
    assert {path for path in tmp_path.rglob('*') if tmp_path / 'w' not in (path, *path.parents)} == before


def test_there_are_so_many():
    assert len({case.name for case in CASES}) == len(CASES) >= 200
