"""The tools on a config that is told names: nothing to train, no checkpoint, no labels."""

import json
import shutil
import xml.etree.ElementTree as ElementTree

from tests.clip_samples import RANDOM_CLIP

import numpy as np
import pytest
import torch

CONFIG = f"""
_base_ = 'micro config.py'
model = dict(
    _delete_=True,
    type='CLIPLocalizer',
    clip={RANDOM_CLIP!r},
    backbone=dict(type='CLIPVisionTransformer', depth=2),
    head=dict(type='GEMHead'),
)
custom_hooks = [dict(type='ClassNamesHook', priority='ABOVE_NORMAL')]
train_cfg = None
train_dataloader = None
optim_wrapper = None
param_scheduler = None
"""


@pytest.fixture
def config(micro_project):
    """The config of GEM, beside the micro config."""
    path = micro_project.config.parent / 'gem.py'
    path.write_text(CONFIG)
    return path


@pytest.fixture
def images(micro_project, tmp_path):
    """A folder of two images and a file of three names."""
    folder = tmp_path / 'images'
    folder.mkdir()
    sources = [path for path in sorted(micro_project.folder.rglob('images/*/*')) if path.is_file()]
    for index, source in enumerate(sources[:2]):
        shutil.copy(source, folder / f'{index}{source.suffix}')
    (tmp_path / 'names.txt').write_text('red ball\nsofa\nGrüner Hund\n', encoding='utf-8')
    return folder


def error_of(run_here, *command: object) -> str:
    """Return the line with which a tool stops."""
    with pytest.raises(SystemExit) as stopped:
        run_here(*command)
    assert isinstance(stopped.value.code, str) and '\n' not in stopped.value.code
    return stopped.value.code


def test_boxes_without_training_and_without_labels(run_here, config, images, tmp_path):
    names = ['--classes', tmp_path / 'names.txt', '--num-workers', 0, '--threshold', 0.4]
    more = ['--topk', 2, '--save-maps', tmp_path / 'maps', '--show-dir', tmp_path / 'pictures']
    run_here('predict.py', config, 'none', images, '--out', tmp_path / 'a.json', *names, *more)
    found = json.loads((tmp_path / 'a.json').read_text())
    assert [entry['name'] for entry in found['categories']] == ['red ball', 'sofa', 'Grüner Hund']
    assert len(found['images']) == 2 and len(found['annotations']) == 4
    scores = [entry['score'] for entry in found['annotations']]
    assert all(0 <= score <= 1 for score in scores) and scores[0] > scores[1]
    saved = np.load(next((tmp_path / 'maps').glob('*.npz')))
    assert saved['maps'].shape == (2, 2, 2) and np.abs(saved['maps']).max() <= 1  # cosines
    assert len(list((tmp_path / 'pictures').glob('*.png'))) == 2
    run_here('predict.py', config, 'none', images, '--out', tmp_path / 'voc', '--format', 'voc', *names)
    (first, _) = sorted((tmp_path / 'voc').rglob('*.xml'))
    name = ElementTree.parse(first).getroot().findtext('object/name')
    assert name in ('red ball', 'sofa', 'Grüner Hund')


def test_evaluation_takes_the_names_of_the_data(run_here, config, tmp_path):
    metrics, work_dir = tmp_path / 'metrics.json', tmp_path / 'w'
    run_here('test.py', config, 'none', '--work-dir', work_dir, '--out', metrics)
    assert {'ts_cam/GT-known_Loc', 'ts_cam/Top-1_Loc', 'Top-1_Cls'} <= json.loads(metrics.read_text()).keys()
    (log,) = work_dir.rglob('*.log')
    assert "CLIP looks for 3 classes; texts of the first: 'a photo of a Red.'" in log.read_text()


def test_names_of_the_config_must_be_as_many_as_the_classes_of_the_data(run_here, config, tmp_path):
    wrong = ['--cfg-options', 'model.class_names=[cat,dog]']
    error = error_of(run_here, 'test.py', config, 'none', '--work-dir', tmp_path / 'w', *wrong)
    assert 'model.head.num_classes: expected 3' in error


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (None, 'classes: expected the names of what is to be found'),
        (b'\n \n', 'names.txt: expected a class name per line, got none'),
        (b'\xff\xfe', 'names.txt: expected a UTF-8 text file, got bytes that do not decode'),
        (b'cat\ndog\ncat\n', "classes: expected different names, got 'cat' twice"),
    ],
)
def test_names_that_do_not_serve_are_one_line(run_here, config, images, tmp_path, names, message):
    options = []
    if names is not None:
        (tmp_path / 'names.txt').write_bytes(names)
        options = ['--classes', tmp_path / 'names.txt']
    error = error_of(run_here, 'predict.py', config, 'none', images, '--out', tmp_path / 'a.json', *options)
    assert message in error
    assert not (tmp_path / 'a.json').exists()


def test_training_is_one_line(run_here, config, tmp_path):
    error = error_of(run_here, 'train.py', config, '--work-dir', tmp_path / 'w')
    assert 'expected a config of a training, got one without train_cfg: a CLIPLocalizer needs none' in error


def test_export(run_here, config, tmp_path):
    options = ['--out', tmp_path / 'model.pt2', '--shape', 64, '--verify']
    names = ['--cfg-options', 'model.class_names=[cat,dog]']
    assert 'agrees with PyTorch' in run_here('deployment/export_torch.py', config, *options, *names)
    extra = {'wsol_mm': ''}
    torch.export.load(tmp_path / 'model.pt2', extra_files=extra)
    assert json.loads(extra['wsol_mm'])['classes'] == ['cat', 'dog']
    error = error_of(run_here, 'deployment/export_torch.py', config, *options)
    assert 'model.class_names: expected the names of what is to be found, got none' in error
