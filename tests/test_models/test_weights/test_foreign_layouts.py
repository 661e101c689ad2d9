"""Tests of weights for mmpretrain's own backbones: from timm, torchvision and mmpretrain, by values."""

from wsol_mm.models.localizers import ImageLocalizer
from wsol_mm.models.weights import load_pretrained
from wsol_mm.models.weights.foreign_layouts import foreign_layouts
from wsol_mm.models.weights.layouts import find_layout
from wsol_mm.registry import MODELS

import pytest
import timm
import torch
import torchvision
from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor, nn

VIT = dict(
    type='mmpretrain.VisionTransformer',
    arch=dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=96),
    img_size=32,
    patch_size=8,
    out_type='featmap',
)
CONVNEXT = dict(
    type='mmpretrain.ConvNeXt',
    arch=dict(depths=[1, 2, 1, 1], channels=[4, 6, 8, 10]),
    gap_before_final_norm=False,
)
VGG = dict(type='mmpretrain.VGG', depth=11)
RESNET = dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8)
SWIN = dict(
    type='mmpretrain.SwinTransformer',
    arch=dict(embed_dims=8, depths=[1, 1], num_heads=[1, 2]),
    img_size=32,
    patch_size=4,
    window_size=4,
    out_indices=(1,),
)


def random_values(network: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.normal_(std=0.2)
            if name.endswith('running_var'):
                value.abs_().add_(1)
    network.eval()  # mmpretrain's return nothing
    return network


def localizer(backbone: dict, channels: int = 24) -> nn.Module:
    head = dict(type='CAMHead', num_classes=5, in_channels=channels, hidden_channels=())
    return ImageLocalizer(backbone, head).eval()


@pytest.fixture
def load(tmp_path):
    def load(model: nn.Module, state: dict[str, Tensor]):
        torch.save(state, tmp_path / 'theirs.pth')
        return load_pretrained(model, tmp_path / 'theirs.pth')

    return load


def assert_same_map(model: nn.Module, expected: nn.Module, size: int = 32) -> None:
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(
            model.extract_feat(images).feature_map, expected(images), rtol=1e-4, atol=1e-5
        )


def test_vit_of_timm(load):
    other = random_values(
        timm.models.VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)
    )
    model = localizer(VIT)
    assert load(model, other.state_dict()).fresh == ['head.fc.weight', 'head.fc.bias']  # of 1000 classes
    assert_same_map(model, lambda x: other.forward_features(x)[:, 1:].mT.unflatten(2, (4, 4)))


def test_distilled_vit_of_timm(load):
    other = random_values(
        timm.models.deit.VisionTransformerDistilled(
            img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2
        )
    )
    model = localizer(VIT | dict(type='mmpretrain.DistilledVisionTransformer'))
    load(model, other.state_dict())
    assert_same_map(model, lambda x: other.forward_features(x)[:, 2:].mT.unflatten(2, (4, 4)))


def test_convnext_of_timm(load):
    other = random_values(timm.models.ConvNeXt(depths=(1, 2, 1, 1), dims=(4, 6, 8, 10), num_classes=5))
    model = localizer(CONVNEXT, 10)
    report = load(model, other.state_dict())
    assert not report.skipped and not report.fresh
    assert model.head.fc.weight.equal(other.head.fc.weight)
    assert_same_map(model, lambda x: other.head.norm(other.forward_features(x)), size=64)


@pytest.mark.parametrize('library', ['timm', 'torchvision', 'mmpretrain', 'the backbone alone'])
def test_resnet(load, library):
    """timm and torchvision have the same names; the values tell that they are of the same layers."""
    other = random_values(MODELS.build(RESNET))
    state = {
        f'backbone.{name}' if library == 'mmpretrain' else name: value
        for name, value in other.state_dict().items()
    }
    if library in ('timm', 'torchvision'):
        build = timm.create_model if library == 'timm' else torchvision.models.get_model
        assert set(build('resnet18').state_dict()) - set(state) == {'fc.weight', 'fc.bias'}
    classifier = 'head.fc' if library == 'mmpretrain' else 'fc'
    state |= {f'{classifier}.weight': torch.randn(5, 64), f'{classifier}.bias': torch.randn(5)}
    model = localizer(RESNET, 64)
    report = load(model, state)
    assert not report.skipped and not report.fresh
    assert model.head.fc.weight.equal(state[f'{classifier}.weight'])
    assert_same_map(model, lambda x: other(x)[-1])


@pytest.mark.parametrize('norm', [False, True])
def test_vgg_of_torchvision(load, norm):
    other = torchvision.models.get_model('vgg11_bn' if norm else 'vgg11', weights=None).eval()
    model = localizer(VGG | dict(norm_cfg=dict(type='BN') if norm else None), 512)
    report = load(model, other.state_dict())
    assert all(name.startswith('classifier.') for name in report.skipped)
    assert_same_map(model, other.features)


@pytest.mark.parametrize('depth', [11, 13, 16, 19])
@pytest.mark.parametrize('norm', [False, True])
def test_every_vgg_has_its_layout(depth, norm):
    with torch.device('meta'):
        other = torchvision.models.get_model(f'vgg{depth}{"_bn" if norm else ""}', weights=None)
    own = MODELS.build(VGG | dict(depth=depth, norm_cfg=dict(type='BN') if norm else None))
    layout = find_layout(other.state_dict(), foreign_layouts(own))
    targets = [layout.rename(name) for name in other.state_dict() if name.startswith('features.')]
    assert targets == [f'backbone.{name}' for name in own.state_dict()]


def test_vgg_with_norms_has_no_place_in_one_without(load):
    other = torchvision.models.vgg11_bn(weights=None)
    with pytest.raises(ValueError, match=r'place in VGG .* got none for features.1.weight, features.1.bias'):
        load(localizer(VGG, 512), other.state_dict())


@pytest.mark.parametrize(
    ('backbone', 'other', 'channels'), [(VIT, dict(img_size=64), 24), (SWIN, dict(), 16)]
)
def test_checkpoint_of_mmpretrain(load, backbone, other, channels):
    """mmpretrain resizes the positions of another image size itself."""
    theirs = random_values(ImageClassifier(backbone | other))
    model = localizer(backbone, channels)
    assert not load(model, theirs.state_dict()).skipped
    expected = MODELS.build(backbone)
    expected.eval()
    expected.load_state_dict(theirs.backbone.state_dict())
    assert_same_map(model, lambda x: expected(x)[-1])


def test_shapes_of_another_network_stop(load):
    wide = MODELS.build(RESNET | dict(stem_channels=16, base_channels=16))
    with pytest.raises(ValueError, match=r'shapes of ResNet, got others|Shapes differ'):
        load(localizer(RESNET, 64), wide.state_dict())


def test_table_that_cannot_be_resized_stops(load):
    state = random_values(MODELS.build(VIT)).state_dict()
    state['pos_embed'] = torch.ones(1, 14, 24)
    with pytest.raises(ValueError, match=r'theirs.pth: expected the shapes of VisionTransformer, got others'):
        load(localizer(VIT), state)


def test_unknown_names_lead_to_the_backbone_of_timm(load):
    other = timm.create_model('mobilenetv3_small_050')
    with pytest.raises(ValueError, match=r"ResNet itself \(conv1.weight, .*type='TimmBackbone'"):
        load(localizer(RESNET, 64), other.state_dict())
