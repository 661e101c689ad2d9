"""Tests of wsol_mm.models.weights.timm_models, through the backbone that uses it."""

import re

from wsol_mm.models.backbones import TimmBackbone
from wsol_mm.utils.checkpoint_io import CheckpointError

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

TINY = dict(img_size=64, embed_dim=36, depth=3, num_heads=3)
EVA = dict(img_size=64, embed_dim=48, depth=3, num_heads=3)


def saved_model(name: str, path, rename=None, **options) -> nn.Module:
    """Write the weights of a random model of timm."""
    model = timm.create_model(name, **options)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    state = rename(state) if rename else state
    if path.suffix == '.safetensors':
        save_file(state, path)
    else:
        torch.save(dict(model=state, epoch=3), path)
    return model.eval()


def assert_same(backbone: TimmBackbone, model: nn.Module, size=(64, 64)) -> None:
    images = torch.randn(1, 3, *size)
    with torch.no_grad():
        expected = model.forward_features(images)
        found = backbone.eval()(images)
    if expected.dim() == 3:
        expected = expected[:, backbone.num_prefix_tokens :].transpose(1, 2).unflatten(2, found.grid)
    torch.testing.assert_close(found.feature_map, expected)


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('deit_tiny_distilled_patch16_224', dict(TINY, num_classes=7)),
        ('vit_tiny_patch16_224', TINY),
        ('vit_tiny_patch16_224', dict(TINY, num_classes=0)),
        ('vit_small_patch16_dinov3_qkvb', EVA),
        ('test_resnet', dict(num_classes=9)),
        ('test_convnext', {}),
    ],
)
def test_weights_of_a_file(tmp_path, name, options, suffix):
    path = tmp_path / f'weights{suffix}'
    model = saved_model(name, path, **options)
    options = {key: value for key, value in options.items() if key != 'num_classes'}
    backbone = TimmBackbone(name, checkpoint_path=str(path), **options)
    assert_same(backbone, model)
    assert not any(key.startswith(('model.head.weight', 'model.fc.')) for key in backbone.state_dict())
    assert 'state_dict' not in backbone.model.pretrained_cfg
    backbone.init_weights()
    assert_same(backbone, model)


def test_names_of_dinov2s_own_file_and_another_grid(tmp_path):
    def own_layout(state):
        state = {key.replace('reg_token', 'register_tokens'): value for key, value in state.items()}
        # Its table has a place for the class token, which timm adds to the token itself.
        table = torch.cat((torch.zeros(1, 1, 36), state['pos_embed']), dim=1)
        return {**state, 'pos_embed': table, 'mask_token': torch.zeros(1, 36)}

    name, path, options = 'vit_small_patch14_reg4_dinov2', tmp_path / 'dinov2.pth', dict(TINY, img_size=56)
    model = saved_model(name, path, own_layout, num_classes=0, dynamic_img_size=True, **options)
    assert_same(TimmBackbone(name, checkpoint_path=path, **options), model, (56, 56))
    larger = TimmBackbone(name, checkpoint_path=path, **{**options, 'img_size': 70})
    assert larger.model.pos_embed.shape == (1, 25, 36)
    assert_same(larger, model, (70, 70))


def test_names_of_dinov3s_own_file(tmp_path):
    def own_layout(state):
        named = {}
        for name, value in state.items():
            if name.endswith('q_bias'):  # one bias of all three, of which that of the keys is masked
                bias = torch.cat((value, torch.zeros(48), state[name.replace('q_bias', 'v_bias')]))
                named[name.replace('q_bias', 'qkv.bias')] = bias
            elif not name.endswith('v_bias'):
                name = name.replace('gamma_1', 'ls1.gamma').replace('gamma_2', 'ls2.gamma')
                named[name.replace('reg_token', 'storage_tokens')] = value
        return {**named, 'mask_token': torch.zeros(1, 48), 'rope_embed.periods': torch.ones(4)}

    name, path = 'vit_small_patch16_dinov3_qkvb', tmp_path / 'dinov3.pth'
    model = saved_model(name, path, own_layout, num_classes=0, **EVA)
    assert_same(TimmBackbone(name, checkpoint_path=path, **EVA), model, (48, 80))


def test_files_that_do_not_fit(tmp_path):
    path = tmp_path / 'vit.pth'
    saved_model('vit_tiny_patch16_224', path, **TINY)
    with pytest.raises(
        ValueError, match=r'vit\.pth: expected the weights of vit_tiny.*, got others: .*blocks\.3'
    ):
        TimmBackbone('vit_tiny_patch16_224', checkpoint_path=path, **{**TINY, 'depth': 4})
    with pytest.raises(ValueError, match=r'vit\.pth: expected the weights of test_resnet, got others'):
        TimmBackbone('test_resnet', checkpoint_path=path)
    with pytest.raises(
        FileNotFoundError, match='checkpoint_path: expected a file, got nothing at .*absent.pth'
    ):
        TimmBackbone('test_resnet', checkpoint_path=tmp_path / 'absent.pth')
    with pytest.raises(
        ValueError, match=r"checkpoint_path: expected None with pretrained=True, got '.*vit\.pth'"
    ):
        TimmBackbone('test_resnet', pretrained=True, checkpoint_path=path)


class Harmful:
    """Would create a file if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def test_a_file_is_never_executed(tmp_path):
    torch.save(dict(model=Harmful(tmp_path / 'executed')), tmp_path / 'harmful.pth')
    with pytest.raises(CheckpointError, match=r'harmful\.pth'):
        TimmBackbone('test_resnet', checkpoint_path=tmp_path / 'harmful.pth')
    assert not (tmp_path / 'executed').exists()


def test_pretrained(monkeypatch):
    original = timm.create_model

    def create_model(name, pretrained=False, **options):
        assert pretrained
        torch.manual_seed(5)
        return original(name, **options)

    monkeypatch.setattr(timm, 'create_model', create_model)
    backbone = TimmBackbone('vit_tiny_patch16_224', pretrained=True, **TINY)
    torch.manual_seed(5)
    assert_same(backbone, original('vit_tiny_patch16_224', **TINY).eval())


def test_pretrained_without_a_network_says_which_file_to_fetch(monkeypatch):
    def create_model(name, pretrained, **options):
        raise ConnectionError('no route\nto host')

    monkeypatch.setattr(timm, 'create_model', create_model)
    address = 'timm/vit_small_patch14_dinov2.lvd142m/resolve/main/model.safetensors'
    with pytest.raises(OSError, match='got neither .ConnectionError: no route to host.') as caught:
        TimmBackbone('vit_small_patch14_dinov2.lvd142m', pretrained=True)
    assert address in str(caught.value)
    assert re.search('give the file: pretrained=False, checkpoint_path=FILE$', str(caught.value))


def test_options_that_pretrained_weights_do_not_fit(monkeypatch, tmp_path):
    path, original = tmp_path / 'vit.pth', timm.create_model
    model = saved_model('vit_tiny_patch16_224', path, **TINY)

    def create_model(name, pretrained, **options):
        source = dict(state_dict=dict(model.state_dict()), num_classes=1000)
        return original(name, pretrained=True, pretrained_cfg_overlay=source, **options)

    monkeypatch.setattr(timm, 'create_model', create_model)
    with pytest.raises(ValueError, match="pretrained: expected options that fit .*'depth': 4.*blocks.3"):
        TimmBackbone('vit_tiny_patch16_224', pretrained=True, **{**TINY, 'depth': 4})


def test_wrong_names_and_options():
    with pytest.raises(
        ValueError, match="model_name: expected a model of timm, such as .*'vit_small_patch14"
    ):
        TimmBackbone('vit_small_patch14_dinov22.lvd142m')
    with pytest.raises(ValueError, match='num_classes: expected none, as the head classifies, got 7'):
        TimmBackbone('test_resnet', num_classes=7)
    assert TimmBackbone('test_resnet', num_classes=0).num_features == 96
