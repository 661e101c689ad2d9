"""Tests of SAT's names in wsol_mm.models.weights."""

import json
import re

from wsol_mm.models.weights import convert_state_dict
from wsol_mm.registry import MODELS

import pytest
import torch

INNER = ('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1', 'mlp.fc2')


def official_names(depth: int) -> list[str]:
    """The names of docs/specifications/sat.md, section 2.5, in its order, for our names in the model's."""
    modules = [f'blocks.{index}.{name}' for index in range(depth) for name in INNER]
    modules = ['patch_embed.proj', *modules, 'norm', 'head']
    tokens = ['cls_token', 'loc_token', 'pos_embed', 'loc_embed', 'weight']
    return tokens + [f'{module}.{kind}' for module in modules for kind in ('weight', 'bias')]


@pytest.fixture
def model(build_localizer):
    return build_localizer(backbone=dict(type='SpatialTokenTransformer'), head=dict(type='SATHead'))


def official_state(model) -> dict[str, torch.Tensor]:
    """Weights whose values say which entry they are."""
    shapes = {
        'cls_token': (1, 1, 24),
        'loc_token': (1, 1, 24),
        'pos_embed': (1, 17, 24),
        'loc_embed': (1, 1, 24),
        'weight': (1, 1, 3, 3),
        'patch_embed.proj.weight': (24, 3, 8, 8),
        'attn.qkv.weight': (72, 24),
        'attn.qkv.bias': (72,),
        'attn.proj.weight': (24, 24),
        'mlp.fc1.weight': (48, 24),
        'mlp.fc1.bias': (48,),
        'mlp.fc2.weight': (24, 48),
        'head.weight': (7, 24, 3, 3),
        'head.bias': (7,),
    }
    return {
        name: torch.full(shapes.get(re.sub(r'^blocks\.\d+\.', '', name), (24,)), float(index))
        for index, name in enumerate(official_names(3))
    }


def test_published_file_arrives_at_its_places(model):
    """As published: weights under `model`, each name with the prefix of a wrapper."""
    state = official_state(model)
    wrapped = {
        'model': {f'module.{name}': value for name, value in state.items()},
        'best_thr': 0.4,
        'epoch': 27,
    }
    converted = convert_state_dict('sat', wrapped)
    assert set(converted) == set(model.state_dict())
    model.load_state_dict(converted, strict=True)
    backbone, head = model.backbone, model.head
    places = {
        'cls_token': backbone.cls_token,
        'loc_token': backbone.spatial_token,
        'pos_embed': backbone.pos_embed,
        'loc_embed': backbone.spatial_pos_embed,
        'weight': head.normalization_loss.filter.kernel,
        'patch_embed.proj.weight': backbone.patch_embed.projection.weight,
        'blocks.1.norm2.bias': backbone.layers[1].ln2.bias,
        'blocks.2.attn.qkv.weight': backbone.layers[2].attn.qkv.weight,
        'blocks.0.mlp.fc1.bias': backbone.layers[0].ffn.layers[0][0].bias,
        'blocks.2.mlp.fc2.weight': backbone.layers[2].ffn.layers[1].weight,
        'norm.weight': backbone.ln1.weight,
        'head.weight': head.semantic_conv.weight,
    }
    for name, value in places.items():
        assert value.shape == state[name].shape and value.flatten()[0] == state[name].flatten()[0], name


def test_names_are_those_of_the_reference(shared_dir):
    parameters = json.loads((shared_dir / 'parity/sat/full_tiny_ilsvrc.json').read_text())['parameters']
    assert set(parameters) == set(official_names(12)) and len(parameters) == 155
    converted = convert_state_dict('sat', {name: torch.zeros(shape) for name, shape in parameters.items()})
    with torch.device('meta'):
        model = MODELS.build(
            dict(
                type='ImageLocalizer',
                backbone=dict(type='SpatialTokenTransformer', arch='deit-tiny'),
                head=dict(type='SATHead', num_classes=1000, in_channels=192),
            )
        )
    assert {name: value.shape for name, value in converted.items()} == {
        name: value.shape for name, value in model.state_dict().items()
    }


def test_other_methods_are_refused(model):
    state = official_state(model)
    plain = {name: value for name, value in state.items() if not name.startswith('loc_') and name != 'weight'}
    with pytest.raises(ValueError, match=r'expected a checkpoint of sat .*, got the names cls_token'):
        convert_state_dict('sat', plain)
    with pytest.raises(
        ValueError, match='expected entries of ts-cam alone, got loc_token, loc_embed, weight'
    ):
        convert_state_dict('ts-cam', state)
