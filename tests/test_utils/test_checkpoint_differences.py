"""Tests of wsol_mm.utils.checkpoint_differences."""

from wsol_mm.utils.checkpoint_differences import describe_differences, made_by

import pytest
import torch
from mmengine.runner import load_state_dict
from torch import nn


def report(model: nn.Module, weights: dict) -> str:
    with pytest.raises(RuntimeError) as caught:
        load_state_dict(model, weights, strict=True)
    return str(caught.value)


def test_differences_are_counted():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    weights = model.state_dict()
    fitting = dict(weights)
    # Older checkpoints may lack the counter; MMEngine asks for all other buffers.
    del fitting['1.num_batches_tracked']
    load_state_dict(model, fitting, strict=True)
    del weights['1.running_mean']
    weights['2.weight'] = torch.zeros(5, 3)
    weights |= {f'blocks.{i}': torch.zeros(1) for i in range(4)}
    text = describe_differences(report(model, weights))
    assert text.startswith(
        '1 missing (1.running_mean), 4 unexpected (blocks.0, blocks.1, blocks.2, ...), '
        '1 mismatched (2.weight) keys. It was trained with another method, backbone or number of classes'
    )
    assert text.endswith('tools/model_converters/official_to_wsol_mm.py')
    assert describe_differences('out of memory') is None


def test_another_number_of_classes_is_told():
    model = nn.ModuleDict(dict(head=nn.Linear(4, 2), backbone=nn.Linear(3, 4)))
    weights = model.state_dict() | {'head.weight': torch.zeros(10, 4), 'head.bias': torch.zeros(10)}
    text = describe_differences(report(model, weights))
    assert text == (
        '2 mismatched (head.weight, head.bias) keys. It has 10 classes, the config has 2: '
        '--cfg-options model.head.num_classes=10'
    )


def test_experiment_that_wrote_a_checkpoint(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(meta=dict(experiment_name='sat_deit-s_cub_20261121_171017'), state_dict={}), path)
    assert made_by(path) == ' (of sat_deit-s_cub)'
    torch.save(dict(state_dict={}), path)
    assert made_by(path) == made_by(tmp_path / 'absent.pth') == ''
