"""Tests of wsol_mm.models.weights.whole_layers: files and backbones that share a part of their layers."""

from wsol_mm.models.localizers import ImageLocalizer
from wsol_mm.models.weights import load_pretrained

import pytest
import timm
import torch
from mmpretrain.models.backbones import ResNet
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import nn

SIZES = dict(img_size=56, patch_size=14, embed_dim=24, depth=2, num_heads=2)
ARCH = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=96)
LAYER_SCALE = dict(layer_scale_init_value=1e-5)
DINOV2, DINOV2_REGISTERS = 'vit_small_patch14_dinov2.lvd142m', 'vit_small_patch14_reg4_dinov2.lvd142m'


def theirs(name: str = 'vit_tiny_patch16_224', **options) -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, dynamic_img_size=True, **{**SIZES, **options})
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.fixture
def file(tmp_path):
    def write(model, without: str = '-', **more):
        state = {name: value for name, value in model.state_dict().items() if without not in name}
        torch.save(state | more, tmp_path / 'theirs.pth')
        return str(tmp_path / 'theirs.pth')

    return write


def ours(**options) -> ImageLocalizer:
    backbone = dict(type='TokenVisionTransformer', arch=ARCH, **{'img_size': 56, 'patch_size': 14, **options})
    return ImageLocalizer(backbone, dict(type='TSCAMHead', num_classes=3, in_channels=24)).eval()


def on_cnn(**backbone) -> ImageLocalizer:
    head = dict(type='CAMHead', num_classes=3, in_channels=8, hidden_channels=())
    return ImageLocalizer(backbone, head).eval()


def resnet(depth: int, **options) -> dict:
    return dict(type='mmpretrain.ResNet', depth=depth, stem_channels=1, base_channels=1, **options)


def assert_same_features(model, other, side):
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        feats, tokens = model.extract_feat(images), other.forward_features(images)
    assert feats.grid == (side // 14, side // 14)
    torch.testing.assert_close(feats.cls_token, tokens[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(feats.feature_map.flatten(2).mT, tokens[:, 1:], rtol=1e-4, atol=1e-4)


def test_dinov2_weights_give_dinov2_features(file):
    model, other = ours(**LAYER_SCALE), theirs(DINOV2)
    report = load_pretrained(model, file(other))
    assert not report.skipped and all(name.startswith('head.') for name in report.fresh)
    for name, expected in other.named_parameters():
        if '.ls' in name:
            _, layer, half, _ = name.split('.')
            own = model.backbone.layers[int(layer)]
            assert (own.attn.gamma1 if half == 'ls1' else own.ffn.gamma2).weight.equal(expected)
    assert_same_features(model, other, 56)


@pytest.mark.parametrize('side', [224, 252])
def test_positions_of_dinov2_are_resampled_as_timm_does(file, side):
    """Its table is for images of 518; once it meets the grid of the model, once that of an image."""
    other = theirs(DINOV2, img_size=518)
    path = file(other)
    model = ours(**LAYER_SCALE, img_size=224, interpolate_mode='timm')
    load_pretrained(model, path)
    resized = theirs(DINOV2, img_size=224)
    timm.models.load_checkpoint(resized, path, filter_fn=checkpoint_filter_fn)
    assert_same_features(model, resized, side)


def test_checkpoint_of_another_grid_is_resampled_as_timm_does():
    large, small = (ours(img_size=side, interpolate_mode='timm').backbone for side in (56, 28))
    nn.init.normal_(large.pos_embed)
    small.load_state_dict(large.state_dict())
    expected = timm.layers.resample_abs_pos_embed(large.pos_embed, [2, 2], num_prefix_tokens=1)
    torch.testing.assert_close(small.pos_embed, expected, check_stride=False)


def test_layer_scale_of_deit_3(file):
    other = theirs(DINOV2)
    state = {
        name.replace('ls1.gamma', 'gamma_1').replace('ls2.gamma', 'gamma_2'): value
        for name, value in other.state_dict().items()
    }
    model = ours(**LAYER_SCALE)
    assert not load_pretrained(model, file(nn.Module(), **state)).skipped
    assert_same_features(model, other, 56)


def test_layer_scale_without_a_place_stops(file):
    model = ours()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    match = (
        r'theirs.pth: expected a place in TokenVisionTransformer for all weights of its layers, got none for '
        r'blocks.0.ls1.gamma, .*blocks.1.ls2.gamma. What takes them: '
        r'model.backbone.layer_scale_init_value=1e-5$'
    )
    with pytest.raises(ValueError, match=match):
        load_pretrained(model, file(theirs(DINOV2)))
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_layer_scale_without_weights_stops(file):
    match = (
        'expected weights for all of TokenVisionTransformer, got none for '
        'backbone.layers.0.attn.gamma1.weight, .*: model.backbone.layer_scale_init_value=0.0$'
    )
    with pytest.raises(ValueError, match=match):
        load_pretrained(ours(**LAYER_SCALE), file(theirs()))


def test_bias_without_weights_stops(file):
    path = file(theirs(qkv_bias=False))
    with pytest.raises(ValueError, match=r'layers.0.attn.qkv.bias, .*: model.backbone.qkv_bias=False$'):
        load_pretrained(ours(), path)
    assert not load_pretrained(ours(qkv_bias=False), path).skipped


@pytest.mark.parametrize('bias', [True, False])
def test_files_of_the_first_timm_releases_need_no_bias(file, bias):
    other = theirs(qkv_bias=False)
    linear = {'patch_embed.proj.weight': other.patch_embed.proj.weight.data.flatten(1)}
    model = ours(qkv_bias=bias)
    model.init_weights()
    report = load_pretrained(model, file(other, **linear))
    fresh = [name for name in report.fresh if name.startswith('backbone.')]
    assert fresh == [f'backbone.layers.{index}.attn.qkv.bias' for index in range(2 * bias)]
    assert_same_features(model.eval(), other, 56)


def test_bias_without_a_place_stops(file):
    with pytest.raises(ValueError, match=r'blocks.0.attn.qkv.bias, .*: model.backbone.qkv_bias=True$'):
        load_pretrained(ours(qkv_bias=False), file(theirs()))


def test_two_settings_are_both_named(file):
    with pytest.raises(ValueError, match='qkv_bias=True and model.backbone.layer_scale_init_value=1e-5$'):
        load_pretrained(ours(qkv_bias=False), file(theirs(DINOV2)))


@pytest.mark.parametrize(
    ('name', 'options', 'lost'),
    [
        ('vit_tiny_patch16_224', dict(qk_norm=True), r'blocks\.0\.attn\.q_norm\.weight'),
        ('vit_tiny_patch16_224', dict(pre_norm=True), r'norm_pre\.weight'),
        (DINOV2_REGISTERS, dict(), 'reg_token'),
        (DINOV2_REGISTERS, dict(no_embed_class=False), 'reg_token'),
    ],
)
def test_what_only_the_backbone_of_timm_has(file, name, options, lost):
    match = rf"got none for {lost}.* What takes them: model.backbone=dict\(type='TimmBackbone'"
    with pytest.raises(ValueError, match=match):
        load_pretrained(ours(**LAYER_SCALE), file(theirs(name, **options)))


@pytest.mark.parametrize('token', ['register_tokens', 'storage_tokens'])
def test_registers_under_their_other_names(file, token):
    with pytest.raises(ValueError, match=f'got none for {token}.*TimmBackbone'):
        load_pretrained(ours(**LAYER_SCALE), file(theirs(DINOV2), **{token: torch.ones(1, 4, 24)}))


def test_another_final_norm_stops(file):
    """The features of a mean over the patches are normalised elsewhere."""
    with pytest.raises(ValueError, match=r'got none for backbone.ln1.weight, backbone.ln1.bias. .*TimmBack'):
        load_pretrained(ours(), file(theirs(global_pool='avg', class_token=True)))


@pytest.mark.parametrize('lost', ['cls_token', 'pos_embed', 'patch_embed.proj.bias', 'blocks.1'])
def test_any_part_without_weights_stops(file, lost):
    with pytest.raises(ValueError, match='expected weights for all of TokenVisionTransformer, got none for '):
        load_pretrained(ours(), file(theirs(), without=lost))


def test_whole_parts_may_differ(file):
    more = {
        'decoder_blocks.0.norm1.weight': torch.ones(3),
        'mask_token': torch.ones(1),
        'head.fc2.weight': torch.ones(3, 3),
        'head_dist.weight': torch.ones(3, 24),
        'blocks.0.attn.relative_position_index': torch.ones(3, 3, dtype=torch.long),
    }
    assert load_pretrained(ours(), file(theirs(), **more)).skipped == list(more)


def test_own_tokens_of_a_backbone_stay_fresh(file):
    backbone = dict(type='SpatialTokenTransformer', arch=ARCH, img_size=56, patch_size=14, masked_layers=1)
    model = ImageLocalizer(backbone, dict(type='SATHead', num_classes=3, in_channels=24))
    report = load_pretrained(model, file(theirs()))
    fresh = [name for name in report.fresh if name.startswith('backbone.')]
    assert fresh == ['backbone.spatial_token', 'backbone.spatial_pos_embed']


def test_network_that_ends_earlier_than_the_file(file):
    other = theirs(depth=3)
    report = load_pretrained(ours(), file(other))
    assert report.skipped and all(name.startswith('blocks.2.') for name in report.skipped)
    with pytest.raises(ValueError, match=r'got none for backbone.layers.1.ln1.weight, .*the architecture of'):
        load_pretrained(ours(), file(theirs(depth=1)))


def test_stages_with_fewer_blocks_than_the_file_stop(file):
    """The middle of a network may not be missing; a whole stage behind its end may."""
    deep = ResNet(34, stem_channels=1, base_channels=1)
    with pytest.raises(ValueError, match=r'ResNet .* got none for layer1.2.conv1.weight, '):
        load_pretrained(on_cnn(**resnet(18)), file(deep))
    with pytest.raises(ValueError, match='got none for backbone.layer1.2.conv1.weight, '):
        load_pretrained(on_cnn(**resnet(34)), file(ResNet(18, stem_channels=1, base_channels=1)))
    short = on_cnn(**resnet(34, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)))
    report = load_pretrained(short, file(deep))
    assert report.skipped and all(name.startswith('layer4.') for name in report.skipped)


def test_statistics_without_weights_stop(file):
    source = ResNet(18, stem_channels=1, base_channels=1)
    with pytest.raises(ValueError, match='got none for backbone.bn1.running_mean, '):
        load_pretrained(on_cnn(**resnet(18)), file(source, without='running_'))
    load_pretrained(on_cnn(**resnet(18)), file(source, without='num_batches_tracked'))


def test_mobilenet_may_be_cut_short(file):
    network = on_cnn(type='MobileNetV1', width=1 / 32).backbone
    report = load_pretrained(on_cnn(type='MobileNetV1', width=1 / 32, strides=(2, 1, 2)), file(network))
    assert {name.split('.')[1] for name in report.skipped} == {str(block) for block in range(3, 14)}


def test_every_model_of_timm_fits_its_own_backbone(file):
    other = theirs(DINOV2_REGISTERS)
    backbone = dict(type='TimmBackbone', model_name=DINOV2_REGISTERS, **SIZES)
    model = ImageLocalizer(backbone, dict(type='TSCAMHead', num_classes=3, in_channels=24)).eval()
    report = load_pretrained(model, file(other))
    assert not report.skipped
    assert all(name.startswith('head.') for name in report.fresh)
    images = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        torch.testing.assert_close(model.extract_feat(images).cls_token, other.forward_features(images)[:, 0])


def test_backbone_of_timm_loses_nothing_either(file):
    backbone = dict(type='TimmBackbone', model_name='vit_tiny_patch16_224', **SIZES)
    model = ImageLocalizer(backbone, dict(type='TSCAMHead', num_classes=3, in_channels=24))
    with pytest.raises(ValueError, match=r'TimmBackbone .* got none for blocks.0.ls1.gamma, .*model_name='):
        load_pretrained(model, file(theirs(DINOV2)))
    with pytest.raises(ValueError, match=r'all of TimmBackbone, got none for backbone.model.norm.bias'):
        load_pretrained(model, file(theirs(), without='norm.bias'))
