"""Tests of wsol_mm.utils.config_settings."""

from wsol_mm.utils.config_settings import merge_options

import pytest
from mmengine.config import Config


@pytest.fixture
def cfg() -> Config:
    return Config(
        dict(
            data_root='data',
            model=dict(head=dict(num_classes=3)),
            train_dataloader=dict(dataset=dict(data_root='data')),
        )
    )


def test_settings_are_changed_and_added(cfg):
    merge_options(cfg, {'model.head.num_classes': 5, 'randomness.seed': 1, 'sync_bn': 'torch'})
    assert cfg.model.head.num_classes == 5 and cfg.randomness.seed == 1 and cfg.sync_bn == 'torch'
    merge_options(cfg, None)


@pytest.mark.parametrize(
    ('key', 'meant'),
    [
        # a variable of a config's file, from which settings were made when it was read
        ('data_roots', ''),
        ('num_classes', '; did you mean model.head.num_classes?'),
        ('modle.head.num_classes', '; did you mean model.head.num_classes?'),
        ('unheard_of', ''),
    ],
)
def test_what_nothing_reads_is_refused(cfg, key, meant):
    before = cfg.to_dict()
    with pytest.raises(ValueError, match='expected settings that a run reads') as caught:
        merge_options(cfg, {'model.head.num_classes': 5, key: 1})
    first = key.partition('.')[0]
    assert str(caught.value) == (
        f"cfg_options: expected settings that a run reads, got {key}: a run has no setting '{first}'{meant}"
    )
    assert cfg.to_dict() == before


def test_one_data_root_for_all_data(cfg):
    cfg.val_dataloader = dict(dataset=dict(type='RepeatDataset', dataset=dict(type='CUB', data_root='data')))
    cfg.test_dataloader = dict(dataset=dict(type='CUB', data_root='data'))
    merge_options(cfg, {'data_root': 'photos', 'test_dataloader.dataset.data_root': 'others'})
    assert cfg.train_dataloader.dataset.data_root == 'photos'
    assert cfg.val_dataloader.dataset.dataset.data_root == 'photos'
    assert cfg.test_dataloader.dataset.data_root == 'others'  # what is set of one wins
    assert cfg.data_root == 'data' and 'data_root' not in cfg.val_dataloader.dataset


def test_one_folder_for_training_and_validation():
    folder = dict(type='FolderDataset', data_root='data', data_prefix='train', class_folder='train')
    loaders = {f'{split}_dataloader': dict(dataset=dict(folder)) for split in ('train', 'val', 'test')}
    cfg = Config(dict(**loaders, model=dict()))
    merge_options(cfg, {'data_root': 'photos', 'val_fraction': 0.25})
    for name, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        assert cfg[f'{name}_dataloader'].dataset == dict(
            type='FolderDataset',
            data_root='photos',
            data_prefix='',
            class_folder=None,
            val_fraction=0.25,
            split=split,
        )


def test_names_for_all_data_need_data(cfg):
    cfg.train_dataloader.dataset.type = 'CUB'
    with pytest.raises(ValueError, match='val_fraction: expected .* FolderDataset, got a CUB as'):
        merge_options(cfg, {'val_fraction': 0.2})
    with pytest.raises(ValueError, match='data_root: expected a config with data, got one without'):
        merge_options(Config(dict(model={})), {'data_root': 'photos'})
