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
        # a variable of the config's file, from which settings were made when it was read
        ('data_root', '; did you mean train_dataloader.dataset.data_root?'),
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
