"""Training and testing as a user starts them: processes, checkpoints, resuming, outputs."""

import json
import pickle
import shutil
import signal
import time

from tests import forked_tools
from wsol_mm.utils.checkpoint_io import read_checkpoint

import cv2
import pytest
import torch
from mmengine.config import Config

EPOCHS = 3


@pytest.fixture(scope='module')
def trained_by_two(micro_project):
    """Checkpoint of one epoch, trained and validated in two processes."""
    result = micro_project.run('dist_train.sh', micro_project.config, 2, '--work-dir', 'two processes')
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    return micro_project.folder / 'two processes' / 'epoch_1.pth', result.stderr + result.stdout


def test_forked_processes_have_the_environment_of_now_and_an_end(monkeypatch):
    script = 'import os; raise SystemExit(int(os.environ["STATUS"]))'
    for number in (7, 8):
        monkeypatch.setenv('STATUS', str(number))
        assert forked_tools.run_forked(exec, script) == number
    monkeypatch.setattr(forked_tools, 'LIMIT_S', 0.2)
    with pytest.raises(TimeoutError, match='sleep: expected an end within 0.2 s, got none'):
        forked_tools.run_forked(time.sleep, 60)


def test_two_processes_train_one_model(trained_by_two):
    checkpoint, log = trained_by_two
    # 12 images, 4 in a batch of each process: 2 iterations, where one process would take 3.
    assert 'Epoch(train) [1][2/2]' in log
    assert 'maxboxacc/MaxBoxAcc' in log
    assert read_checkpoint(checkpoint)['meta']['iter'] == 2
    assert sorted(path.name for path in checkpoint.parent.glob('*.pth')) == ['epoch_1.pth']


def test_work_directory_keeps_log_config_and_seed(trained_by_two):
    folder = trained_by_two[0].parent
    cfg = Config.fromfile(folder / 'micro config.py')
    assert cfg.randomness.seed == 0
    assert cfg.env_cfg.dist_cfg.backend == 'gloo'
    (log,) = folder.glob('*/*.log')
    assert 'seed: 0' in log.read_text()


@pytest.fixture(scope='module')
def tested_by_one(micro_project, trained_by_two):
    """Folder with the outputs of tools/test.py in one process."""
    arguments = [micro_project.config, trained_by_two[0], '--work-dir', 'tests', '--show-dir', 'pictures']
    result = micro_project.run('test.py', *arguments, '--out', 'outputs/one.json', 'outputs/one.pkl')
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    assert (result.stderr + result.stdout).count('Load checkpoint from') == 1
    return micro_project.folder


def test_outputs_of_a_test(tested_by_one):
    metrics = json.loads((tested_by_one / 'outputs' / 'one.json').read_text())
    assert {'Top-1_Cls', 'ts_cam/GT-known_Loc', 'maxboxacc/MaxBoxAcc'} <= set(metrics)
    with (tested_by_one / 'outputs' / 'one.pkl').open('rb') as file:
        predictions = pickle.load(file)
    assert len(predictions) == 9
    assert predictions[0]['loc_maps'].shape[1:] == (4, 4)
    pictures = sorted((tested_by_one / 'pictures').glob('*.png'))
    assert len(pictures) == 9
    assert cv2.imread(str(pictures[0])).shape == (108, 176, 3)  # captions stand below


def test_two_processes_test_to_the_same_numbers(micro_project, trained_by_two, tested_by_one):
    """Nine images over two processes: one is evaluated twice and must count once."""
    arguments = [micro_project.config, trained_by_two[0], 2, '--work-dir', 'tests', '--show-dir', 'share']
    result = micro_project.run('dist_test.sh', *arguments, '--out', 'outputs/two.json', 'outputs/two.pkl')
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    one, two = (
        json.loads((tested_by_one / 'outputs' / f'{name}.json').read_text()) for name in ('one', 'two')
    )
    assert one == two
    # The first process draws its share: every other image.
    assert len(list((tested_by_one / 'share').glob('*.png'))) == 5
    with (tested_by_one / 'outputs' / 'two.pkl').open('rb') as file:
        assert len(pickle.load(file)) == 9


def test_a_checkpoint_of_another_model_is_one_line(micro_project, trained_by_two):
    """On two processes, of which the first reports."""
    other = ['--cfg-options', 'model.head.num_classes=2']
    arguments = [micro_project.config, trained_by_two[0], 2, '--work-dir', 'tests', *other]
    result = micro_project.run('dist_test.sh', *arguments)
    assert result.returncode != 0
    errors = [line for line in result.stderr.splitlines() if 'test.py: error:' in line]
    assert len(errors) == 1, result.stderr
    assert (
        f'{trained_by_two[0]} (of micro config): expected the weights of the model of the config, got 2 '
        'mismatched (head.semantic_conv.weight, head.semantic_conv.bias) keys. It has 3 classes, the config '
        'has 2: model.head.num_classes=3 (settings are changed by --cfg-options KEY=VALUE)'
    ) in errors[0]
    assert 'Epoch(test)' not in result.stderr + result.stdout


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (
            {'model': {'blocks.0.norm1.weight': torch.ones(16)}},
            ' missing (backbone.cls_token, backbone.pos_embed, backbone.patch_embed.projection.weight, ...), '
            '1 unexpected (model) keys. It was trained with another method',
        ),
        (None, 'foreign.pth: expected a checkpoint, '),
    ],
    ids=['official', 'no_checkpoint'],
)
def test_a_file_that_is_not_of_this_package_is_one_line(micro_project, content, message):
    file = micro_project.folder / 'foreign.pth'
    file.write_text('nothing') if content is None else torch.save(content, file)
    result = micro_project.run('test.py', micro_project.config, file, '--work-dir', 'tests')
    assert result.returncode == 1
    assert message in result.stderr.splitlines()[-1]
    assert 'Traceback' not in result.stderr


def test_training_does_not_start_from_weights_of_which_nothing_fits(micro_project):
    torch.save({'state_dict': {'layer.weight': torch.ones(2)}}, micro_project.folder / 'nothing_fits.pth')
    options = ['--work-dir', 'nothing', '--cfg-options', 'load_from=nothing_fits.pth']
    result = micro_project.run('train.py', micro_project.config, *options)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert 'train.py: error: nothing_fits.pth: expected the weights of the model of the config, got ' in last
    assert ', 1 unexpected (layer.weight) keys. It was trained with another method' in last
    assert 'Traceback' not in result.stderr


def test_other_number_of_classes_than_the_data_has(micro_project):
    options = ['--work-dir', 'classes', '--cfg-options', 'model.head.num_classes=2']
    result = micro_project.run('train.py', micro_project.config, *options)
    assert result.returncode != 0
    assert (
        'train.py: error: model.head.num_classes: expected 3, the number of classes of '
        'train_dataloader.dataset, got 2. Set model.head.num_classes=3 '
        '(settings are changed by --cfg-options KEY=VALUE) (traceback in '
    ) in result.stderr.splitlines()[-1]
    assert 'Traceback' not in result.stderr


def test_resuming_from_another_model_is_one_line(micro_project, trained_by_two):
    options = [
        '--work-dir',
        'other',
        '--resume',
        trained_by_two[0],
        '--cfg-options',
        'model.head.type=SCMHead',
    ]
    result = micro_project.run('train.py', micro_project.config, *options)
    assert result.returncode == 1
    error = result.stderr.splitlines()[-1]
    assert error.startswith('train.py: error: argument --resume: expected a checkpoint of this model ')


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('g++') is None, reason='Inductor needs a compiler')
def test_a_compiled_training_ends_as_one_that_is_not(micro_project):
    """By Inductor, not by a stand-in for it."""
    weights = []
    for name, options in {'plain': [], 'compiled': ['--compile']}.items():
        options = ['--work-dir', name, '--no-validate', *options]
        result = micro_project.run('train.py', micro_project.config, *options)
        assert result.returncode == 0, result.stderr
        assert ('Model has been "compiled"' in result.stdout + result.stderr) == (name == 'compiled')
        weights.append(read_checkpoint(micro_project.folder / name / 'epoch_1.pth')['state_dict'])
    plain, compiled = weights
    assert plain.keys() == compiled.keys()
    for name, weight in plain.items():
        torch.testing.assert_close(compiled[name], weight, rtol=1e-4, atol=1e-4, msg=name)


def test_resumed_training_ends_as_if_never_stopped(micro_project):
    """Killed at the start of the third of three epochs and resumed, against run through; both with --amp."""
    options = ['--amp', '--no-validate', '--auto-scale-lr', '--cfg-options', f'train_cfg.max_epochs={EPOCHS}']
    whole = micro_project.run('train.py', micro_project.killable_config, '--work-dir', 'whole', *options)
    assert whole.returncode == 0, whole.stderr
    assert 'Epoch(val)' not in whole.stderr + whole.stdout
    assert 'LR is set based on batch size of 8 and the current batch size is 4' in whole.stderr + whole.stdout

    arguments = [micro_project.killable_config, '--work-dir', 'killed', *options]
    killed = micro_project.run('train.py', *arguments, KILL_AT_EPOCH=str(EPOCHS - 1))
    assert killed.returncode == -signal.SIGKILL
    folder = micro_project.folder / 'killed'
    assert {path.name for path in folder.glob('*.pth')} == {'epoch_1.pth', 'epoch_2.pth'}
    # Nor does resuming need the weights that the training may have started from.
    resumed = micro_project.run('train.py', *arguments, 'model.pretrained=/no/file.pth', '--resume')
    assert resumed.returncode == 0, resumed.stderr
    assert 'resumed epoch: 2, iter: 6' in resumed.stderr + resumed.stdout

    expected = read_checkpoint(micro_project.folder / 'whole' / f'epoch_{EPOCHS}.pth')
    found = read_checkpoint(folder / f'epoch_{EPOCHS}.pth')
    assert found['meta']['epoch'] == expected['meta']['epoch'] == EPOCHS
    assert found['meta']['iter'] == expected['meta']['iter'] == 3 * EPOCHS
    for name, weight in expected['state_dict'].items():
        torch.testing.assert_close(found['state_dict'][name], weight, rtol=0, atol=0, msg=name)


def test_refined_maps_of_two_processes_are_those_of_one(micro_project, trained_by_two):
    metrics = {}
    for name, tool, processes in (('one', 'test.py', []), ('two', 'dist_test.sh', [2])):
        arguments = [micro_project.config, trained_by_two[0], *processes, '--work-dir', 'refined']
        words = ['32', '64', 'flip', 'guided']
        result = micro_project.run(tool, *arguments, '--refine', *words, '--out', f'refined/{name}.json')
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr
        metrics[name] = json.loads((micro_project.folder / 'refined' / f'{name}.json').read_text())
    assert metrics['one'] == metrics['two']
    assert metrics['one']['refinement'] == (
        'views of 32, 64 pixels, mirrored too, guided filter (radius 12, eps 0.001)'
    )
