"""CDTR trained, resumed and tested as a user does it: CLIP is there in training and nowhere else."""

import json
import signal

from tests.clip_samples import RANDOM_CLIP
from wsol_mm.models.clip.loading import load_clip
from wsol_mm.utils.checkpoint_io import read_checkpoint

import pytest
import torch

CDTR_CONFIG = """
_base_ = 'killable config.py'
model = dict(
    head=dict(
        _delete_=True,
        type='CDTRHead',
        num_classes=3,
        in_channels=16,
        num_layers=2,
        num_heads=2,
        ocm=dict(num_layers=2),
        sba=dict(prompt_index='label', clip=dict(model={model!r}, pretrained={weights!r})),
    )
)
train_cfg = dict(max_epochs=3)
custom_hooks = [dict(type='KillingHook'), dict(type='ClassNamesHook'), dict(type='EMAHook')]
test_evaluator = dict(type='LocalizationMetric', protocols=['cdtr', 'maxboxacc'])
"""


@pytest.fixture(scope='module')
def config(micro_project):
    weights = micro_project.folder / 'clip.pt'
    torch.manual_seed(3)
    torch.save(load_clip(RANDOM_CLIP['model'], None).network.state_dict(), weights)
    path = micro_project.folder / 'cdtr config.py'
    path.write_text(CDTR_CONFIG.format(model=RANDOM_CLIP['model'], weights=str(weights)))
    return path


@pytest.fixture(scope='module')
def checkpoint(micro_project, config):
    """Three epochs in one process, with --amp."""
    result = micro_project.run('train.py', config, '--amp', '--work-dir', 'cdtr')
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    assert 'Prompts of CLIP are about 3 classes: Red, Green, Blue' in result.stdout + result.stderr
    assert 'loss_sba' in result.stdout + result.stderr
    return micro_project.folder / 'cdtr' / 'epoch_3.pth'


def test_checkpoint_has_no_clip(checkpoint):
    content = read_checkpoint(checkpoint)
    for key in ('state_dict', 'ema_state_dict'):
        names = list(content[key])
        assert any('head.loss_weighting.params' in name for name in names)
        assert not [name for name in names if 'clip' in name.lower() or 'visual' in name or 'text' in name]
    trained = {index for group in content['optimizer']['param_groups'] for index in group['params']}
    weights = [value for name, value in content['state_dict'].items() if 'running' not in name]
    assert len(trained) == sum(value.is_floating_point() for value in weights)


def test_resumed_in_the_middle(micro_project, config, checkpoint):
    arguments = [config, '--amp', '--work-dir', 'cdtr killed']
    killed = micro_project.run('train.py', *arguments, KILL_AT_EPOCH='1')
    assert killed.returncode == -signal.SIGKILL
    resumed = micro_project.run('train.py', *arguments, '--resume')
    assert resumed.returncode == 0, resumed.stderr
    assert 'resumed epoch: 1, iter: 3' in resumed.stderr + resumed.stdout
    expected = read_checkpoint(checkpoint)['state_dict']
    found = read_checkpoint(micro_project.folder / 'cdtr killed' / 'epoch_3.pth')['state_dict']
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=0, atol=0, msg=name)


@pytest.fixture(scope='module')
def run_test(micro_project, config, checkpoint):
    """Test the checkpoint without CLIP; give the metrics."""

    def run(tool, *processes):
        options = ['--cfg-options', 'model.head.sba.clip.pretrained=/no/such/file.pt']
        out = micro_project.folder / 'cdtr.json'
        arguments = [config, checkpoint, *processes, '--work-dir', 'cdtr test', '--out', out, *options]
        result = micro_project.run(tool, *arguments)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr
        return json.loads(out.read_text())

    return run


def test_without_clip(run_test):
    assert 'cdtr/GT-known_Loc_predicted' in run_test('test.py')


@pytest.mark.slow  # test_models/test_localizers/test_two_processes.py has every method's metrics
def test_one_process_and_two_test_alike_without_clip(run_test):
    assert run_test('test.py') == run_test('dist_test.sh', 2)


@pytest.mark.slow  # the same file has every method's gradients; test_train_and_test.py, a training in two
def test_two_processes_train(micro_project, config):
    options = ['--work-dir', 'cdtr two', '--cfg-options', 'train_cfg.max_epochs=1']
    result = micro_project.run('dist_train.sh', config, 2, *options)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    assert 'Epoch(train) [1][2/2]' in result.stderr + result.stdout
    content = read_checkpoint(micro_project.folder / 'cdtr two' / 'epoch_1.pth')
    assert all(value.isfinite().all() for value in content['state_dict'].values())


def test_training_without_the_file_says_how_to_give_it(micro_project, config):
    options = ['--work-dir', 'no clip', '--cfg-options', 'model.head.sba.clip.pretrained=/no/such/file.pt']
    result = micro_project.run('train.py', config, *options)
    assert result.returncode != 0
    assert '/no/such/file.pt' in result.stderr.splitlines()[-1]
    assert 'model.head.sba.clip.pretrained' in result.stderr.splitlines()[-1]
    assert 'Epoch(train)' not in result.stdout + result.stderr
