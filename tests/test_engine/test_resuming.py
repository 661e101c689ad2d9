"""Trainings that are stopped, killed, moved or damaged, and go on."""

import os
import shutil
import signal

from tests.toy_training import EPOCHS, end_of, in_child, make_training
from wsol_mm.engine.training_checkpoints import INTERRUPTED, newest_checkpoint
from wsol_mm.utils.checkpoint_io import read_checkpoint, write_checkpoint

import pytest
import torch
from mmengine.hooks import Hook


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    """Folder of a training that was left alone."""
    folder = tmp_path_factory.mktemp('undisturbed') / 'run'
    assert in_child(lambda: make_training(folder).train()) == 0
    return folder


def same_end(folder, expected):
    found, expected = end_of(folder), end_of(expected)
    assert found.pop('best') == expected.pop('best')
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    return True


class Signal(Hook):
    """Sends a signal to all processes of the session, at a moment of the training."""

    def __init__(self, number, step=None, validation=None):
        self.number = number
        self.step = step
        self.validation = validation

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.step:
            os.killpg(0, self.number)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.epoch == self.validation:
            os.killpg(0, self.number)


def train(folder, **options):
    def run():
        os.setsid()
        make_training(folder, **options).train()

    return in_child(run)


@pytest.mark.parametrize('workers', [0, 1, 3])
def test_samples_do_not_depend_on_the_number_of_workers(undisturbed, tmp_path, workers):
    assert train(tmp_path / 'run', workers=workers) == 0
    assert same_end(tmp_path / 'run', undisturbed)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(('step', 'workers'), [(1, 0), (5, 2), (6, 0), (12, 0)])
def test_stopped_by_a_signal(undisturbed, tmp_path, number, step, workers):
    """Within an epoch and at its end; the workers get the signal, too."""
    folder = tmp_path / 'run'
    status = train(folder, workers=workers, custom_hooks=[Signal(number, step)])
    assert status == 128 + number
    assert read_checkpoint(folder / INTERRUPTED)['meta']['iter'] == step
    assert newest_checkpoint(folder).path == folder / INTERRUPTED
    # With another number of workers.
    assert train(folder, resume=True, workers=1) == 0
    assert same_end(folder, undisturbed)
    assert not (folder / INTERRUPTED).exists()


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize('validation', [2, EPOCHS])
def test_a_validation_that_was_cut_off_is_made_up_for(undisturbed, tmp_path, number, validation):
    """The second is the best; the last is followed by no training."""
    folder = tmp_path / 'run'
    status = train(folder, custom_hooks=[Signal(number, validation=validation)])
    assert status == (-number if number == signal.SIGKILL else 128 + number)
    assert int((folder / 'last_validation').read_text()) == 3 * (validation - 1)
    assert train(folder, resume=True) == 0
    assert same_end(folder, undisturbed)


def test_killed_after_every_epoch(undisturbed, tmp_path):
    folder = tmp_path / 'run'
    for step in (4, 7, 10):
        assert train(folder, resume=True, custom_hooks=[Signal(signal.SIGKILL, step)]) == -signal.SIGKILL
    assert train(folder, resume=True) == 0
    assert same_end(folder, undisturbed)


BY_STEPS = dict(
    type='CheckpointHook', interval=2, by_epoch=False, max_keep_ckpts=2, save_best='toy/score', rule='greater'
)


def end_by_steps(folder):
    """Weights, optimizer and best weights after all steps."""
    last = read_checkpoint(folder / 'iter_12.pth')
    (best,) = folder.glob('best_*.pth')
    return dict(
        weights=last['state_dict'], optimizer=last['optimizer'], best=read_checkpoint(best)['state_dict']
    )


@pytest.mark.parametrize('step', [3, 4, 5, 6, 7, 9, 11])
def test_killed_within_an_epoch_with_checkpoints_by_steps(tmp_path, undisturbed, step):
    """Every second step, in epochs of three: what follows is the same."""
    hooks = dict(checkpoint=BY_STEPS)
    calm, folder = tmp_path / 'calm', tmp_path / 'run'
    assert train(calm, hooks=hooks) == 0
    stop = [Signal(signal.SIGKILL, step=step)]
    assert train(folder, hooks=hooks, custom_hooks=stop) == -signal.SIGKILL
    assert train(folder, hooks=hooks, resume=True) == 0
    torch.testing.assert_close(end_by_steps(folder), end_by_steps(calm), rtol=0, atol=0)
    # Where checkpoints are saved changes nothing.
    weights = read_checkpoint(undisturbed / f'epoch_{EPOCHS}.pth')['state_dict']
    torch.testing.assert_close(end_by_steps(folder)['weights'], weights, rtol=0, atol=0)


def test_moved_and_without_last_checkpoint(undisturbed, tmp_path):
    folder = tmp_path / 'run'
    assert train(folder, custom_hooks=[Signal(signal.SIGKILL, 7)]) == -signal.SIGKILL
    moved = tmp_path / 'moved'
    shutil.move(folder, moved)
    (moved / 'last_checkpoint').unlink()
    assert train(moved, resume=True) == 0
    assert same_end(moved, undisturbed)
    assert not folder.exists()
    assert len(list(moved.glob('*.pth'))) == 3


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    'damage',
    [
        lambda content: b'',
        lambda content: content[: len(content) // 2],
        flipped,
        lambda content: b'no checkpoint',
    ],
    ids=['empty', 'cut', 'bit', 'text'],
)
def test_the_newest_that_reads_is_taken_and_the_others_are_named(undisturbed, tmp_path, damage, capfd):
    folder = tmp_path / 'run'
    shutil.copytree(undisturbed, folder)
    last = folder / f'epoch_{EPOCHS}.pth'
    last.write_bytes(damage(last.read_bytes()))
    found = newest_checkpoint(folder)
    assert found.path == folder / f'epoch_{EPOCHS - 1}.pth'
    (reason,) = found.skipped
    assert reason.startswith(f'{last}: expected a checkpoint, ')
    assert in_child(lambda: make_training(folder, resume=True, log_level='INFO').train(), quiet=False) == 0
    assert f'Skipped: {last}: expected a checkpoint, ' in (output := capfd.readouterr()).out + output.err
    assert same_end(folder, undisturbed)


def test_none_that_reads_is_an_error_and_none_at_all_a_beginning(undisturbed, tmp_path, capfd):
    folder = tmp_path / 'run'
    shutil.copytree(undisturbed, folder)
    for path in folder.glob('epoch_*.pth'):
        path.write_bytes(b'')
    assert in_child(lambda: make_training(folder, resume=True).train(), quiet=False) == 1
    assert 'expected a checkpoint that can be resumed, got 2 that cannot: ' in capfd.readouterr().err
    shutil.rmtree(folder)
    assert train(folder, resume=True) == 0
    assert same_end(folder, undisturbed)


def test_longer_and_finished_trainings(undisturbed, tmp_path, capfd):
    folder = tmp_path / 'run'
    shutil.copytree(undisturbed, folder)

    def resume(epochs):
        cfg = dict(by_epoch=True, max_epochs=epochs)
        return in_child(
            lambda: make_training(folder, resume=True, train_cfg=cfg, log_level='INFO').train(), quiet=False
        )

    assert resume(EPOCHS) == 0
    assert 'This training is finished: ' in capfd.readouterr().out
    assert resume(2) == 1
    message = f'expected a checkpoint of at most 2 epochs (train_cfg.max_epochs), got one of {EPOCHS}'
    assert message in capfd.readouterr().err
    assert resume(EPOCHS + 1) == 0
    assert f'is of a training of {EPOCHS} epochs, now train_cfg.max_epochs is {EPOCHS + 1}' in (
        capfd.readouterr().out
    )
    assert read_checkpoint(folder / f'epoch_{EPOCHS + 1}.pth')['meta']['epoch'] == EPOCHS + 1


def test_the_config_in_a_checkpoint_is_not_evaluated(undisturbed, tmp_path):
    folder, marker = tmp_path / 'run', tmp_path / 'executed'
    shutil.copytree(undisturbed, folder)
    content = read_checkpoint(folder / f'epoch_{EPOCHS - 1}.pth')
    content['meta']['config'] = content['meta']['cfg'] = f'__import__("os").mkdir("{marker}")\n'
    write_checkpoint(tmp_path / 'evil.pth', content)
    assert train(folder, resume=True, load_from=str(tmp_path / 'evil.pth')) == 0
    assert same_end(folder, undisturbed)
    assert not marker.exists()


CONTENT = dict(
    state_dict={},
    meta=dict(epoch=1, iter=3),
    message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
    optimizer={},
)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(state_dict=3), 'the dict state_dict, got a int'),
        (dict(meta=None), 'the dict meta, got a NoneType'),
        (dict(meta=dict(epoch=1)), 'the int meta.iter, got none'),
        (dict(meta=dict(epoch='1', iter=3)), 'the int meta.epoch, got a str'),
        (dict(optimizer=[]), 'the dict optimizer, got a list'),
        (dict(message_hub='x'), 'the dict message_hub, got a str'),
        (dict(message_hub={}), 'the dict message_hub.log_scalars, got none'),
    ],
)
def test_what_a_checkpoint_lacks_is_named(undisturbed, tmp_path, change, message):
    path = tmp_path / 'epoch_9.pth'
    write_checkpoint(path, CONTENT)
    assert newest_checkpoint(tmp_path) == (path, [])
    write_checkpoint(path, CONTENT | change)
    found = newest_checkpoint(tmp_path)
    assert found.path is None
    assert found.skipped == [f'{path}: expected a checkpoint of a training with {message}']
