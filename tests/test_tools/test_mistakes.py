"""Mistakes in configs and checkpoints: one line each, before anything is built or written."""

import re

# Not part of the time that a mistake takes.
import wsol_mm.apis.folder_prediction
import wsol_mm.models  # noqa: F401
from tests.test_tools.conftest import soon

import pytest
import torch

# Text behind that of the config, or instead of it; what the error says.
CONFIGS = {
    'empty': ('', 'model: expected a dict with the type of the model, got none'),
    'syntax': ('model = dict(', 'expected a config, got SyntaxError: '),
    'error': ('model = 1 / 0', 'expected a config, got ZeroDivisionError: division by zero'),
    'no text': (b'\xff\xfe\x00', 'expected a config, got '),
    'own base': ("_base_ = './broken.py'", 'expected a config, got one that is its own base'),
    'no base': ("_base_ = './nothing.py'", 'expected a config, got '),
    'base of another type': ('_base_ = 3', 'expected a config, got '),
}
SETTINGS = {
    'model=3': 'model: expected a dict with the type of the model, got 3',
    'model=None': 'model: expected a dict with the type of the model, got None',
    'model.type=ImageLocaliser': "model.type: .*, got 'ImageLocaliser'; did you mean 'ImageLocalizer'",
    'model.head.type=TSCAMHaed': "model.head.type: .*, got 'TSCAMHaed'; did you mean 'TSCAMHead'",
    'model.head=None': 'model.head: expected a dict with a type, got None',
    'model.backbone=None': 'model.backbone: expected a dict with a type, got None',
    'model.backbone.type=TokenVisionTransfomer': "did you mean 'TokenVisionTransformer'",
    'model.backbone=vit': "model.backbone: expected a dict with a type, got 'vit'",
    'model.head.num_classes=three': "model.head.num_classes: expected an integer from 1, got 'three'",
    'model.head.num_classes=0': 'model.head.num_classes: expected an integer from 1, got 0',
    'model.head.num_classes=-3': 'model.head.num_classes: expected an integer from 1, got -3',
    'model.head.num_classes=2.5': 'model.head.num_classes: expected an integer from 1, got 2.5',
    'model.head.num_classes=True': 'model.head.num_classes: expected an integer from 1, got True',
    'model.head.in_channels=many': "model.head.in_channels: expected an integer from 1, got 'many'",
    'model.backbone.img_size=0': 'model.backbone.img_size: expected an integer from 1, or several, got 0',
    'model.backbone.img_size=33': 'model.backbone.img_size: expected a multiple of patch_size=8, got 33',
    'model.backbone.patch_size=0': 'model.backbone.patch_size: expected an integer from 1, or several, got 0',
    'train_dataloader.dataset.type=CUBS': "train_dataloader.dataset.type: .*, got 'CUBS'; did you mean 'CUB'",
    'train_dataloader.dataset=3': 'train_dataloader.dataset: expected a dict with a type, got 3',
    'val_dataloader.dataset.pipeline.1.type=Rezize': "val_dataloader.dataset.pipeline.1.type: .*'Resize'",
    'train_dataloader.batch_size=0': 'train_dataloader.batch_size: expected an integer from 1, got 0',
    'train_dataloader.batch_size=x': "train_dataloader.batch_size: expected an integer from 1, got 'x'",
    'train_dataloader.num_workers=-1': 'train_dataloader.num_workers: expected an integer from 0, got -1',
    'optim_wrapper.optimizer.type=AdamX': "optim_wrapper.optimizer.type: .*, got 'AdamX'; did you mean 'Adam",
    'optim_wrapper.optimizer.lr=fast': "optim_wrapper.optimizer.lr: expected a number from 0, got 'fast'",
    'optim_wrapper.optimizer.lr=-1': 'optim_wrapper.optimizer.lr: expected a number from 0, got -1',
    'train_dataloader.dataset.data_root=2024': 'data_root: expected a path, got 2024. Quotes keep a path',
    'train_dataloader.dataset.data_root=1e3': 'data_root: expected a path, got 1000.0. Quotes keep a path',
    'train_dataloader.dataset.data_root=a,b': r"data_root: expected a path, got \['a', 'b'\]. Quotes keep a",
    'train_dataloader.dataset.data_root=[v1]': r"data_root: expected a path, got \['v1'\]. Quotes keep a",
    "train_dataloader.dataset.data_root='2024'": 'got no file 2024/images.txt',
    'train_dataloader.dataset.data_root=my data': 'got no file my data/images.txt',
    'load_from=7': r'load_from: expected a path, got 7. Quotes keep a path as it is, as in "load_from=',
    'train_cfg.max_epochs=0': 'train_cfg.max_epochs: expected an integer from 1, got 0',
    'train_cfg.max_epochs=-2': 'train_cfg.max_epochs: expected an integer from 1, got -2',
    'train_cfg.max_epochs=ten': "train_cfg.max_epochs: expected an integer from 1, got 'ten'",
    'train_cfg.max_epochs=1.5': 'train_cfg.max_epochs: expected an integer from 1, got 1.5',
    'train_cfg.val_interval=0': 'train_cfg.val_interval: expected an integer from 1, got 0',
    'default_hooks.checkpoint.type=CheckpointHok': "default_hooks.checkpoint.type: .*'CheckpointHook'",
    'default_hooks.checkpoint=3': 'default_hooks.checkpoint: expected a dict with a type, got 3',
    'val_evaluator.type=LocalisationMetric': "val_evaluator.type: .*; did you mean 'LocalizationMetric'",
    'default_hooks.checkpoint.save_best=maxboxacc/MaxBoxAc': (
        "save_best: expected a metric of the validation, got 'maxboxacc/MaxBoxAc'; "
        "did you mean 'maxboxacc/MaxBoxAcc'"
    ),
}
LISTS = {
    "custom_hooks = [dict(type='EMAHok')]": "custom_hooks.0.type: .*, got 'EMAHok'; did you mean 'EMAHook'",
    'custom_hooks = [dict()]': 'custom_hooks.0: expected a dict with a type, got one with nothing',
    "param_scheduler = [dict(type='LinearLr')]": "param_scheduler.0.type: .*; did you mean 'LinearLR'",
}


@pytest.fixture
def check_mistake(run_here):
    """Run a tool that ends with one line, soon."""

    def check(message, *words):
        with soon(), pytest.raises(SystemExit) as caught:
            run_here(*words)
        text = str(caught.value.code)
        assert text.count('\n') == 0, text
        assert re.search(message, text), text

    return check


@pytest.mark.parametrize('name', CONFIGS)
@pytest.mark.parametrize('tool', ['train.py', 'predict.py'])
def test_configs_that_cannot_be_read(micro_project, check_mistake, tmp_path, tool, name):
    content, message = CONFIGS[name]
    path = tmp_path / 'broken.py'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    more = (
        ['none', micro_project.folder / 'cub', '--out', tmp_path / 'out.json'] if tool == 'predict.py' else []
    )
    check_mistake(message, tool, path, *more)


@pytest.mark.parametrize('setting', SETTINGS)
def test_settings_that_cannot_be(micro_project, check_mistake, setting):
    options = ['--work-dir', 'mistakes', '--cfg-options', 'default_hooks.checkpoint.rule=greater', setting]
    check_mistake(SETTINGS[setting], 'train.py', micro_project.config, *options)


@pytest.mark.parametrize('text', LISTS)
def test_lists_that_cannot_be(micro_project, check_mistake, tmp_path, text):
    path = tmp_path / 'list.py'
    path.write_text(f'_base_ = {str(micro_project.config)!r}\n{text}\n')
    check_mistake(LISTS[text], 'train.py', path, '--work-dir', tmp_path)


CHECKPOINTS = {
    'no state dict': (dict(state_dict=3), 'expected a dict of weights as state_dict, got a int'),
    'a list': ([1], 'expected a dict of weights, got a list'),
    'empty': ({}, 'expected the weights of the model of the config, got '),
    'no tensors': (dict(state_dict={'a': 'b'}), 'expected the weights of the model of the config, got '),
    'numbers for names': (dict(state_dict={1: torch.ones(1)}), 'expected the weights of the model of the '),
}


@pytest.mark.parametrize('name', CHECKPOINTS)
@pytest.mark.parametrize('tool', ['test.py', 'predict.py', 'load_from'])
def test_checkpoints_of_something_else(micro_project, check_mistake, tmp_path, tool, name):
    content, message = CHECKPOINTS[name]
    path = tmp_path / 'a.pth'
    torch.save(content, path)
    arguments = {
        'test.py': [micro_project.config, path, '--work-dir', tmp_path],
        'predict.py': [
            micro_project.config,
            path,
            micro_project.folder / 'cub',
            '--out',
            tmp_path / 'o.json',
        ],
        'load_from': [micro_project.config, '--work-dir', tmp_path, '--cfg-options', f'load_from={path}'],
    }
    check_mistake(message, 'train.py' if tool == 'load_from' else tool, *arguments[tool])
