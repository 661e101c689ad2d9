"""Tests of wsol_mm.models.weights.whole_layers: files and backbones that share a part of a layer."""

from wsol_mm.models.localizers import ImageLocalizer
from wsol_mm.models.weights import load_pretrained

import pytest
import timm
import torch

SIZES = dict(img_size=56, patch_size=14, embed_dim=24, depth=2, num_heads=2)
ARCH = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=96)
LAYER_SCALE = dict(layer_cfgs=dict(layer_scale_init_value=1e-5))


def theirs(name: str = 'vit_small_patch14_dinov2.lvd142m', **options) -> torch.nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(name, **SIZES, num_classes=0, dynamic_img_size=True, **options)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.fixture
def file(tmp_path):
    def write(model, **more):
        torch.save({**model.state_dict(), **more}, tmp_path / 'theirs.pth')
        return str(tmp_path / 'theirs.pth')

    return write


def ours(**options) -> ImageLocalizer:
    backbone = dict(type='TokenVisionTransformer', arch=ARCH, img_size=56, patch_size=14, **options)
    return ImageLocalizer(backbone, dict(type='TSCAMHead', num_classes=3, in_channels=24)).eval()


@pytest.mark.parametrize('side', [56, 84])
def test_dinov2_weights_give_dinov2_features(file, side):
    model, other = ours(**LAYER_SCALE), theirs()
    report = load_pretrained(model, file(other))
    assert not report.skipped
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        feats, tokens = model.extract_feat(images), other.forward_features(images)
    if side == 56:  # positions of another grid are interpolated in other ways
        torch.testing.assert_close(feats.cls_token, tokens[:, 0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(feats.feature_map.flatten(2).mT, tokens[:, 1:], rtol=1e-4, atol=1e-4)
    assert feats.grid == (side // 14, side // 14)


def test_layer_scale_without_a_place_stops(file):
    match = r'got none for blocks.0.ls1.gamma, .*ls2.gamma. .* model.backbone.layer_cfgs=dict\(layer_scale'
    with pytest.raises(ValueError, match=match):
        load_pretrained(ours(), file(theirs()))


def test_layer_scale_without_weights_stops(file):
    plain = theirs('vit_tiny_patch16_224')
    match = 'expected weights for all of the layers .* got none for backbone.layers.0.attn.gamma1.weight, '
    with pytest.raises(ValueError, match=match):
        load_pretrained(ours(**LAYER_SCALE), file(plain))


def test_registers_need_the_backbone_of_timm(file):
    other = theirs('vit_small_patch14_reg4_dinov2.lvd142m', no_embed_class=False)
    match = "got none for reg_token. Such weights are taken by model.backbone=dict\\(type='TimmBackbone'"
    with pytest.raises(ValueError, match=match):
        load_pretrained(ours(**LAYER_SCALE), file(other))


def test_norms_of_queries_and_keys_need_the_backbone_of_timm(file):
    with pytest.raises(ValueError, match='got none for blocks.0.attn.q_norm.weight, .*TimmBackbone'):
        load_pretrained(ours(), file(theirs('vit_tiny_patch16_224', qk_norm=True)))


def test_whole_parts_and_biases_of_zero_may_differ(file):
    plain = theirs('vit_tiny_patch16_224', qkv_bias=False)
    decoder = {'decoder_blocks.0.norm1.weight': torch.ones(3), 'mask_token': torch.ones(1)}
    model = ours()
    model.init_weights()
    report = load_pretrained(model, file(plain, **decoder))
    assert report.skipped == list(decoder)
    assert 'backbone.layers.1.attn.qkv.bias' in report.fresh


def test_every_model_of_timm_fits_its_own_backbone(file):
    other = theirs('vit_small_patch14_reg4_dinov2.lvd142m')
    backbone = dict(type='TimmBackbone', model_name='vit_small_patch14_reg4_dinov2.lvd142m', **SIZES)
    model = ImageLocalizer(backbone, dict(type='TSCAMHead', num_classes=3, in_channels=24)).eval()
    report = load_pretrained(model, file(other))
    assert not report.skipped
    assert all(name.startswith('head.') for name in report.fresh)
    images = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        torch.testing.assert_close(model.extract_feat(images).cls_token, other.forward_features(images)[:, 0])
