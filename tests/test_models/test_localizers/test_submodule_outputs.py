"""Tests of wsol_mm.models.localizers.submodule_outputs."""

import copy

from wsol_mm.models.localizers.submodule_outputs import insert_layers, named_submodule, recorded_outputs
from wsol_mm.registry import MODELS

import pytest
import torch
from torch import nn


@MODELS.register_module()
class _Double(nn.Module):
    """Doubles in training alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x if self.training else x


class _Block(nn.Sequential):
    """Runs its first two modules, whatever else it holds."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self[1](self[0](x))


@pytest.fixture
def model():
    return nn.Sequential(nn.Identity(), _Block(nn.Identity(), nn.ReLU()), nn.Identity())


def test_outputs_are_recorded_in_the_order_asked_for(model):
    x = torch.tensor([-1.0, 2.0])
    with recorded_outputs([model[1][1], model[0]]) as outputs:
        assert outputs == [None, None]
        model(x)
    assert torch.equal(outputs[0], x.relu())
    assert torch.equal(outputs[1], x)
    assert not model[0]._forward_hooks


def test_nothing_stays_behind_after_an_error(model):
    with pytest.raises(ZeroDivisionError), recorded_outputs([model[0]]):
        raise ZeroDivisionError
    assert not model[0]._forward_hooks


def test_one_layer_stands_after_several_modules(model):
    layers = insert_layers(model, [dict(type='_Double', after=('0', '1.1'))])
    model[1].inserts = layers
    x = torch.tensor([-1.0, 2.0])
    assert torch.equal(model.train()(x), torch.tensor([0.0, 8.0]))
    assert torch.equal(model.eval()(x), torch.tensor([0.0, 2.0]))
    assert len(layers) == 1
    assert not model.state_dict()


def test_what_is_recorded_has_passed_the_inserted_layer(model):
    insert_layers(model, [dict(type='_Double', after='0')])
    with recorded_outputs([model[0]]) as outputs:
        model(torch.ones(1))
    assert outputs[0] == 2


def test_a_copy_has_its_own_layer(model):
    model[1].inserts = insert_layers(model, [dict(type='_Double', after='0')])
    twin = copy.deepcopy(model).eval()
    assert model.train()(torch.ones(1)) == 2
    assert twin(torch.ones(1)) == 1


def test_unknown_names_are_errors(model):
    with pytest.raises(
        ValueError, match=r"stages: .* module of Sequential, such as \['1.1', .*\], got '1.2'"
    ):
        named_submodule(model, '1.2', 'stages')
    with pytest.raises(ValueError, match='inserts.after: expected the name of a module .* got '):
        insert_layers(model, [dict(type='_Double', after=('0', ''))])
    with pytest.raises(
        ValueError, match='inserts: expected names of modules of the model in `after`, got none'
    ):
        insert_layers(model, [dict(type='_Double')])
