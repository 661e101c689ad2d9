"""Tests of wsol_mm.utils.checkpoint_differences."""

import logging

import wsol_mm  # noqa: F401
from wsol_mm.utils.checkpoint_differences import find_differences, read_fitting_checkpoint
from wsol_mm.utils.checkpoint_io import CheckpointError, without_prefixes

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import load_checkpoint
from torch import distributed, nn

ADVICE = (
    'It was trained with another method, backbone or number of classes (model.head.num_classes) than the '
    "config's; weights in the layout of the authors' code need tools/model_converters/official_to_wsol_mm.py"
)
PREFIXES = ('module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.')


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves weights and gives the path."""

    def save(weights: dict, **more) -> str:
        path = tmp_path / 'weights.pth'
        torch.save(dict(state_dict=weights, **more), path)
        return str(path)

    return save


def test_differences_are_counted(model):
    weights = model.state_dict()
    assert str(find_differences(weights, model)) == 'none'
    del weights['1.running_mean']
    del weights['1.num_batches_tracked']  # which older checkpoints lack
    weights['2.weight'] = torch.zeros(5, 3)
    weights |= {f'blocks.{i}': torch.zeros(1) for i in range(4)}
    found = find_differences(weights, model)
    assert found == (
        ['1.running_mean'],
        [f'blocks.{i}' for i in range(4)],
        {'2.weight': ((5, 3), (2, 3))},
        6,
    )
    assert str(found) == (
        '1 missing (1.running_mean), 4 unexpected (blocks.0, blocks.1, blocks.2, ...), 1 mismatched '
        f'(2.weight) keys. {ADVICE}'
    )


def test_another_number_of_classes_is_told():
    model = nn.ModuleDict(dict(head=nn.Linear(4, 2), backbone=nn.Linear(3, 4)))
    weights = model.state_dict() | {'head.weight': torch.zeros(10, 4), 'head.bias': torch.zeros(10)}
    assert str(find_differences(weights, model)) == (
        '2 mismatched (head.weight, head.bias) keys. It has 10 classes, the config has 2: '
        'model.head.num_classes=10'
    )
    weights['head.bias'] = torch.zeros(())
    assert str(find_differences(weights, model)).endswith(ADVICE)


def test_a_scalar_in_place_of_a_vector_is_no_number_of_classes():
    model = nn.ModuleDict(dict(head=nn.Linear(1, 2, bias=False)))
    assert str(find_differences({'head.weight': torch.zeros(())}, model)).endswith(ADVICE)


def test_all_or_something_must_fit(model, saved):
    weights = model.state_dict()
    assert read_fitting_checkpoint(saved(weights, meta=dict(epoch=3)), model)['meta'] == dict(epoch=3)
    del weights['0.weight']
    path = saved(weights, meta=dict(experiment_name='sat_deit-s_cub_20261121_171017'))
    with pytest.raises(ValueError, match='expected the weights of the model of the config') as caught:
        read_fitting_checkpoint(path, model)
    assert str(caught.value) == (
        f'{path} (of sat_deit-s_cub): expected the weights of the model of the config, got 1 missing '
        f'(0.weight) keys. '
        f'{ADVICE}'
    )
    content = read_fitting_checkpoint(path, model, strict=False)
    assert content['state_dict'].keys() == weights.keys()
    with pytest.raises(
        ValueError, match='expected the weights of the model .*, got 8 missing .*1 unexpected'
    ):
        read_fitting_checkpoint(saved({'other': torch.zeros(1)}), model, strict=False)


def test_what_is_no_checkpoint_is_told_in_one_line(model, tmp_path):
    (tmp_path / 'a.pth').write_text('none')
    with pytest.raises(ValueError, match=r'a\.pth: expected a checkpoint, .*, got ') as caught:
        read_fitting_checkpoint(tmp_path / 'a.pth', model)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('prefix', PREFIXES)
def test_prefixes_of_wrappers_do_not_matter(model, saved, prefix):
    weights = {f'{prefix}{name}': value + 1 for name, value in model.state_dict().items()}
    path = saved(weights)
    content = read_fitting_checkpoint(path, model)
    assert content['state_dict'].keys() == model.state_dict().keys()
    load_checkpoint(model, path, strict=True)  # MMEngine's, as of `load_from`
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, weights[prefix + name], rtol=0, atol=0)


def test_weights_of_a_compiled_model_fit(model, saved):
    compiled = torch.compile(model)
    assert '_orig_mod.0.weight' in compiled.state_dict()
    content = read_fitting_checkpoint(saved(compiled.state_dict()), model)
    assert {*content['state_dict']} == {*model.state_dict()}


def test_experiment_that_wrote_a_checkpoint(model, tmp_path):
    path = tmp_path / 'a.pth'
    for meta, named in (
        (dict(experiment_name='sat_deit-s_cub_20261121_171017'), r'a\.pth \(of sat_deit-s_cub\)'),
        ({}, r'a\.pth'),
    ):
        torch.save(dict(meta=meta, state_dict={'other': torch.zeros(1)}), path)
        with pytest.raises(ValueError, match=f'{named}: expected the weights of the model of the config'):
            read_fitting_checkpoint(path, model)


def test_prefixes_within_names_stay():
    weights = {'_orig_mod.submodule.module.weight': torch.zeros(1), 'module.a._orig_mod.b': torch.ones(1)}
    assert list(without_prefixes(weights)) == ['submodule.module.weight', 'a._orig_mod.b']


def test_what_does_not_fit_is_a_warning_where_not_all_has_to(model, saved, monkeypatch):
    lines = []
    monkeypatch.setattr(
        'wsol_mm.utils.checkpoint_differences.print_log',
        lambda text, logger, level: lines.append((text, level)),
    )
    weights = dict(model.state_dict())
    first = next(iter(weights))
    read_fitting_checkpoint(saved(weights), model, strict=False)
    assert lines == []
    weights['other'] = weights.pop(first)
    read_fitting_checkpoint(saved(weights), model, strict=False)
    ((text, level),) = lines
    assert f'got {len(weights) - 1} that fit: ' in text and level == logging.WARNING
    assert f'1 missing ({first}), 1 unexpected (other) keys' in text


def test_prefixes_are_taken_off_name_by_name():
    weights = {'module.a': torch.zeros(1), 'b': torch.ones(1), '_orig_mod.module.c': torch.zeros(2)}
    assert list(without_prefixes(weights)) == ['a', 'b', 'c']
    with pytest.raises(CheckpointError, match='expected names that differ .*, got 2 names of which 1 do'):
        without_prefixes({'module.a': torch.zeros(1), 'a': torch.ones(1)})


def test_only_whole_weights_are_compared(model, saved, monkeypatch):
    """A wrapper may hold a part of the weights on every process, under names of its own."""

    class Sharded(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = nn.ParameterDict({'flat': torch.cat([p.flatten() for p in module.parameters()])})

    monkeypatch.setitem(MODEL_WRAPPERS.module_dict, 'Sharded', Sharded)
    path = saved(model.state_dict(), meta=dict(epoch=3))
    content = read_fitting_checkpoint(path, Sharded(model))
    assert content['meta'] == dict(epoch=3) and content['state_dict'].keys() == model.state_dict().keys()


def test_replicas_are_compared(model, saved, tmp_path):
    distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        replica = MMDistributedDataParallel(model)
        assert read_fitting_checkpoint(saved(model.state_dict()), replica)['state_dict'].keys()
        with pytest.raises(ValueError, match='expected the weights of the model of the config'):
            read_fitting_checkpoint(saved({'other': torch.zeros(1)}), replica)
    finally:
        distributed.destroy_process_group()
