"""Tests of wsol_mm.engine.hooks.map_guard_hook."""

from types import SimpleNamespace

from wsol_mm.engine.hooks import MapGuardHook
from wsol_mm.engine.hooks.map_guard_hook import RESTARTS
from wsol_mm.engine.runner import LocalizationRunner
from wsol_mm.models.heads import FOUNDHead, TriLiteHead
from wsol_mm.registry import DATASETS, MODELS

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch.utils.data import Dataset


class Stopped(Exception):
    """Stands for a killed process."""


class CollapsingHead(FOUNDHead):
    """Collapses in its first ``collapses`` trainings, whatever it learns; may be stopped at an iteration."""

    collapses, stop_after = 0, None
    trainings, calls = 0, 0

    def restart(self) -> None:
        super().restart()
        type(self).trainings += 1

    def mask_losses(self, feats, data_samples):
        kind = type(self)
        if kind.calls == kind.stop_after:
            raise Stopped
        kind.calls += 1
        losses = super().mask_losses(feats, data_samples)
        self.areas.copy_(torch.tensor([0.3, 0.01 if kind.trainings < kind.collapses else 0.2]))
        return losses


class FeatureSet(Dataset):
    """Eight images' features, as a cache has them."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        inputs = {
            'keys': torch.randn(6, 24, generator=generator),
            'cls_token': torch.randn(24, generator=generator),
            'class_attention': torch.rand(1, 2, 2, 3, generator=generator),
        }
        return dict(inputs=inputs, data_samples=DataSample().set_gt_label(index % 2))


@pytest.fixture(autouse=True)
def registered():
    MODELS.register_module(module=CollapsingHead, force=True)
    DATASETS.register_module(module=FeatureSet, force=True)
    CollapsingHead.trainings = CollapsingHead.calls = CollapsingHead.collapses = 0
    CollapsingHead.stop_after = None
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        yield
    MODELS.module_dict.pop('CollapsingHead')
    DATASETS.module_dict.pop('FeatureSet')


def make_runner(
    tmp_path, name: str, by_epoch: bool = False, max_restarts: int = 2, **options
) -> LocalizationRunner:
    """Return a training of 8 iterations, 2 of them in the first phase, which is looked at every 2."""
    backbone = dict(
        type='TimmBackbone',
        model_name='vit_tiny_patch16_224',
        attention_layers=1,
        **dict(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2),
    )
    head = dict(
        type='CollapsingHead',
        num_classes=2,
        dropout=0.5,
        pseudo_masks=dict(type='AttentionMasks'),
        mask_loss=dict(first_phase=2),
    )
    loader = dict(batch_size=4, num_workers=0, dataset=dict(type='FeatureSet'))
    loader |= dict(collate_fn=dict(type='default_collate'))
    sampler = 'DefaultSampler' if by_epoch else 'InfiniteSampler'
    length, interval = (dict(max_epochs=4), 2) if by_epoch else (dict(max_iters=8), 4)
    config = dict(
        model=dict(type='ImageLocalizer', backbone=backbone, head=head, frozen=['backbone.*']),
        work_dir=str(tmp_path),
        # With the folder: runs of one name and second would share MMEngine's messages, restarts among them.
        experiment_name=f'{name} {tmp_path}',
        train_dataloader=dict(**loader, sampler=dict(type=sampler, shuffle=True)),
        train_cfg=dict(by_epoch=by_epoch, **length),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.05)),
        param_scheduler=[dict(type='StepLR', by_epoch=by_epoch, step_size=2, gamma=0.5)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=by_epoch, interval=interval)),
        custom_hooks=[dict(type='MapGuardHook', interval=2, max_restarts=max_restarts)],
        randomness=dict(seed=3),
        default_scope='wsol_mm',
        **options,
    )
    return LocalizationRunner.from_cfg(Config(config))


def test_a_collapse_starts_the_training_anew(tmp_path, capsys):
    CollapsingHead.collapses = 1
    runner = make_runner(tmp_path, 'iterations')
    runner.train()
    rates = runner.optim_wrapper.get_lr()['lr']
    assert CollapsingHead.calls == 4 + 8 and runner.iter == 8 and runner.model.head.iteration == 8
    assert rates[-1] == pytest.approx(0.05 * 0.5**3)  # as without a restart
    assert runner.message_hub.get_info(RESTARTS) == 1
    printed = capsys.readouterr().out
    assert (
        'Iteration 4: the decoder has collapsed: predicted area 0.010, area of the pseudo masks 0.300'
        in printed
    )
    assert 'restart 1 of at most 2' in printed
    assert 'The map is sound: predicted area 0.200, area of the pseudo masks 0.300, restarts 1' in printed


def test_a_restart_begins_with_the_next_seed(tmp_path):
    CollapsingHead.collapses, CollapsingHead.stop_after = 1, 4
    runner = make_runner(tmp_path, 'seed')
    with pytest.raises(Stopped):
        runner.train()
    torch.manual_seed(3 + 1)
    decoder = torch.nn.Conv2d(24, 1, 1)
    assert torch.equal(runner.model.head.decoder.weight, decoder.weight)
    assert not runner.optim_wrapper.optimizer.state
    assert runner.optim_wrapper.get_lr()['lr'][-1] == 0.05


@pytest.mark.parametrize('by_epoch', [False, True])
def test_a_resumed_training_ends_as_one_that_never_stopped(tmp_path, by_epoch):
    CollapsingHead.collapses = 1
    whole = make_runner(tmp_path / 'whole', 'whole', by_epoch)
    whole.train()
    CollapsingHead.trainings, CollapsingHead.calls, CollapsingHead.stop_after = 0, 0, 4 + 2
    with pytest.raises(Stopped):
        make_runner(tmp_path / 'stopped', 'stopped', by_epoch).train()
    last = (tmp_path / 'stopped' / 'last_checkpoint').read_text()
    assert last.endswith('epoch_0.pth' if by_epoch else 'iter_0.pth')
    CollapsingHead.stop_after = None
    runner = make_runner(tmp_path / 'stopped', 'resumed', by_epoch, resume=True)
    runner.train()
    assert runner.iter == 8 and runner.message_hub.get_info(RESTARTS) == 1
    assert CollapsingHead.calls == 4 + 2 + 8
    for name, value in whole.model.head.state_dict().items():
        assert torch.equal(runner.model.head.state_dict()[name], value), name


def test_a_training_by_epochs_is_restarted_too(tmp_path):
    CollapsingHead.collapses = 1
    runner = make_runner(tmp_path, 'epochs', by_epoch=True)
    runner.train()
    assert CollapsingHead.calls == 4 + 8 and runner.epoch == 4 and runner.iter == 8
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_4.pth')


def test_restarts_are_bounded(tmp_path, capsys):
    CollapsingHead.collapses = 9
    runner = make_runner(tmp_path, 'bounded', max_restarts=2)
    runner.train()
    assert CollapsingHead.calls == 4 + 4 + 8
    printed = capsys.readouterr().out
    assert printed.count('The training begins anew') == 2
    assert 'Iteration 4, after 2 restarts: expected a predicted area of at least 0.65 of' in printed
    assert 'End of training, after 2 restarts: expected a predicted area of at least' in printed


def test_without_restarts_it_warns(tmp_path, capsys):
    CollapsingHead.collapses = 9
    make_runner(tmp_path, 'warns', max_restarts=0).train()
    assert CollapsingHead.calls == 8
    assert 'got 0.010: the decoder has collapsed, and the maps are not to be used' in capsys.readouterr().out


def test_areas_of_a_good_training_are_left_alone(tmp_path, capsys):
    make_runner(tmp_path, 'good').train()
    assert CollapsingHead.calls == 8
    assert 'begins anew' not in capsys.readouterr().out


def prediction(value: float, part: float) -> DataSample:
    sample = DataSample()
    sample.loc_maps = torch.full((1, 2, 2), part)
    sample.loc_maps[0, 0, 0] = value
    return sample


@pytest.mark.parametrize(('split', 'pseudo'), [('val', 0.2), ('test', 0.2), ('test', 0.3)])
def test_empty_predictions_are_counted(split, pseudo, capsys):
    head = FOUNDHead(2, 4, pseudo_masks=dict(type='AttentionMasks'))
    head.areas[0] = pseudo
    runner, hook = SimpleNamespace(model=SimpleNamespace(head=head)), MapGuardHook()
    getattr(hook, f'before_{split}_epoch')(runner)
    for outputs in ([prediction(0.9, 0.1), prediction(0.5, 0.5)], [prediction(0.6, 0.2)]):
        getattr(hook, f'after_{split}_iter')(runner, 0, outputs=outputs)
    getattr(hook, f'after_{split}_epoch')(runner)
    printed = capsys.readouterr().out
    assert (
        'of the area of the pseudo masks (0.300), got 0.167' if pseudo == 0.3 else 'predicted area 0.167'
    ) in printed
    assert '1 of 3 maps are empty: their box is the whole image' in printed
    assert ('collapsed' in printed) == (0.65 * pseudo > 1 / 6)


@pytest.mark.parametrize('share', [0.0, 1.0])
def test_inverted_maps_are_counted(share, capsys):
    middle, border = torch.zeros(1, 3, 4), torch.ones(1, 3, 4)
    middle[0, 1, 1:3], border[0, 1, 1:3] = 1.0, 0.0
    samples = [DataSample(), DataSample()]
    samples[0].loc_maps, samples[1].loc_maps = border, share * border + (1 - share) * middle
    runner = SimpleNamespace(model=SimpleNamespace(head=TriLiteHead(2, 4)))
    hook = MapGuardHook()
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, outputs=samples)
    hook.after_test_epoch(runner)
    printed = capsys.readouterr().out
    assert f'{1 + share:.0f} of 2 maps are inverted' in printed
    # one of each: as much on the border as elsewhere
    assert ('foreground and background have changed places' in printed) == (share == 1)


def test_errors():
    with pytest.raises(ValueError, match='interval: expected an integer from 1, got 0'):
        MapGuardHook(interval=0)
    with pytest.raises(ValueError, match='max_restarts: expected an integer from 0, got -1'):
        MapGuardHook(max_restarts=-1)
    runner = SimpleNamespace(model=SimpleNamespace(head=torch.nn.Linear(2, 2)))
    with pytest.raises(TypeError, match=r'model\.head: expected a GuardedHead, got Linear'):
        MapGuardHook().before_train(runner)
