"""Tests of the names of BAS's checkpoints (docs/specifications/cnn_baselines.md, section B2)."""

from tests.test_models.test_heads.test_bas_head import NETWORKS
from wsol_mm.models.weights import convert_state_dict, load_pretrained
from wsol_mm.models.weights.layouts import VGG16_CONVS, VGG16_FEATURES
from wsol_mm.registry import MODELS

import pytest
import torch
from torch import Tensor, nn

COPIES = {
    'vgg': ('conv5_1.weight', 'conv_copy_5_1.weight'),
    'inception': ('Mixed_7a.branch3x3_1.conv.weight', 'Mixed_7a_copy.branch3x3_1.conv.weight'),
    'resnet': ('layer4.0.conv1.weight', 'layer4_copy.0.conv1.weight'),
    'mobilenet': ('model.12.0.weight', 'erase_branch.12.0.weight'),
}


def build(network: str) -> nn.Module:
    backbone, back_end, channels = NETWORKS[network]
    head = dict(type='BASHead', num_classes=5, in_channels=channels, back_end=back_end, hidden_channels=8)
    return MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head))


def official_name(name: str, classifier: str = 'classifier_cls') -> str:
    """Return what a weight is called in the authors' files."""
    for ours, theirs in {
        'backbone.': '',
        'head.back_end.': '',
        'head.classifier.': f'{classifier}.',
        'head.generator.': 'classifier_loc.0.',
    }.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise AssertionError(name)


def official_state(model: nn.Module, **options: str) -> dict[str, Tensor]:
    return {official_name(name, **options): value for name, value in model.state_dict().items()}


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('files', ['cub', 'ilsvrc'])
def test_converted_weights_arrive_at_their_places(network, files):
    source, target = build(network), build(network)
    state = official_state(source)
    if files == 'ilsvrc':
        original, copy = COPIES[network]
        state |= {copy: -state[original], 'classifier_cls_copy.0.bias': torch.ones(8)}
        state = {f'module.{name}': value for name, value in state.items()}
    converted = convert_state_dict('bas', state)
    target.load_state_dict(converted, strict=True)
    for name, value in source.state_dict().items():
        assert converted[name].equal(value)


def test_the_other_name_of_the_classifier():
    model = build('inception')
    converted = convert_state_dict('bas', official_state(model, classifier='classifier'))
    assert converted.keys() == model.state_dict().keys()


def test_unknown_and_missing_entries():
    state = official_state(build('resnet'))
    with pytest.raises(ValueError, match='expected entries of bas alone, got fc.weight too'):
        convert_state_dict('bas', state | {'fc.weight': torch.ones(5, 5)})
    with pytest.raises(ValueError, match='expected a checkpoint of bas'):
        convert_state_dict('bas', {name: value for name, value in state.items() if 'loc' not in name})


def imagenet_name(name: str) -> str | None:
    """Return what a weight of the trunk is called in the published ImageNet files."""
    if not name.startswith(('backbone.', 'head.back_end.')):
        return None
    layer, _, kind = official_name(name).rpartition('.')
    return (
        f'features.{VGG16_FEATURES[VGG16_CONVS.index(layer)]}.{kind}'
        if layer in VGG16_CONVS
        else f'{layer}.{kind}'
    )


@pytest.mark.parametrize('network', NETWORKS)
def test_last_stages_of_a_pretrained_network_fill_the_back_end(network, tmp_path):
    model, source = build(network), build(network)
    state = {imagenet_name(name): value for name, value in source.state_dict().items() if imagenet_name(name)}
    torch.save(state, tmp_path / 'imagenet.pth')
    report = load_pretrained(model, tmp_path / 'imagenet.pth')
    assert {name.split('.')[1] for name in report.fresh} == {'classifier', 'generator'}
    assert not report.skipped
    for part in ('backbone', 'head.back_end'):
        for name, value in source.get_submodule(part).state_dict().items():
            assert model.get_submodule(part).state_dict()[name].equal(value)


def test_the_classifier_of_imagenet_is_left_out(tmp_path):
    model = build('mobilenet')
    state = {imagenet_name(name): value for name, value in model.state_dict().items() if imagenet_name(name)}
    torch.save({'state_dict': state | {'fc.weight': torch.ones(1000, 128)}}, tmp_path / 'imagenet.pth')
    assert load_pretrained(model, tmp_path / 'imagenet.pth').skipped == ['fc.weight']
