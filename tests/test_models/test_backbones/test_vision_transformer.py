"""Tests of wsol_mm.models.backbones.vision_transformer."""

import copy
import pickle

import wsol_mm  # noqa: F401
from tests.methods import METHODS
from wsol_mm.models.backbones import TokenVisionTransformer

import pytest
import torch
from mmpretrain.models.backbones import VisionTransformer


def test_features_are_mmpretrains(build_vit):
    ours = build_vit()
    theirs = VisionTransformer(
        arch=ours.arch_settings, img_size=32, patch_size=8, out_type='raw', norm_cfg=dict(type='LN', eps=1e-6)
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    theirs.eval()
    images = torch.randn(2, 3, 32, 32)
    tokens = theirs(images)[0]
    feats = ours(images)
    torch.testing.assert_close(feats.cls_token, tokens[:, 0])
    torch.testing.assert_close(feats.feature_map, tokens[:, 1:].transpose(1, 2).reshape(2, 24, 4, 4))
    assert feats.class_attention is None and feats.stages == () and not feats.extras


def test_class_row_is_row_zero_of_the_full_attention(build_vit):
    vit = build_vit()
    images = torch.randn(2, 3, 32, 32)
    row, full = vit(images, {'class_attention'}), vit(images, {'full_attention'})
    matrices = full.extras['full_attention']
    assert row.class_attention.shape == (2, 3, 2, 17) and matrices.shape == (2, 3, 2, 17, 17)
    torch.testing.assert_close(row.class_attention, matrices[..., 0, :])
    assert torch.equal(full.class_attention, matrices[..., 0, :])
    assert torch.equal(row.feature_map, full.feature_map) and torch.equal(
        row.feature_map, vit(images).feature_map
    )


def test_what_it_cannot_give_is_named(build_vit):
    vit, images = build_vit(), torch.randn(1, 3, 32, 32)
    message = r"expected a backbone that gives \['rows'\], got TokenVisionTransformer, which gives"
    with pytest.raises(ValueError, match=message):
        vit(images, {'class_attention', 'rows'})
    with pytest.raises(TypeError, match="needs: expected a set of names, got the string 'cls_token'"):
        vit(images, 'cls_token')


@pytest.mark.parametrize('size', [(32, 48), (24, 32), (64, 64), (30, 33)])
def test_any_input_size(build_vit, size):
    """The position embedding is interpolated; a partial patch is padded."""
    vit = build_vit()
    grid = tuple(-(-side // 8) for side in size)
    feats = vit(torch.randn(2, 3, *size), {'class_attention'})
    assert feats.grid == grid
    assert feats.class_attention.shape[-1] == 1 + grid[0] * grid[1]


def test_non_square_grid_is_row_major(build_vit):
    vit = build_vit(img_size=(24, 40))
    assert vit.pos_embed.shape == (1, 16, 24) and vit.patch_resolution == (3, 5)
    images = torch.randn(1, 3, 24, 40)
    tokens, grid = vit.embed(images)
    assert grid == (3, 5)
    for layer in vit.layers:
        tokens, _ = layer(tokens)
    torch.testing.assert_close(vit(images).feature_map[0, :, 1, 2], vit.ln1(tokens)[0, 1 + 5 + 2])


@pytest.mark.parametrize(
    ('name', 'width', 'layers', 'heads', 'hidden'),
    [
        ('deit-tiny', 192, 12, 3, 768),
        ('deit-t', 192, 12, 3, 768),
        ('deit-small', 384, 12, 6, 1536),
        ('deit-b', 768, 12, 12, 3072),
        ('vit-t', 192, 12, 3, 768),
        ('ViT-Small', 384, 12, 6, 1536),
        ('small', 768, 8, 8, 2304),
    ],
)
def test_named_architectures(name, width, layers, heads, hidden):
    settings = TokenVisionTransformer._settings_of(name)
    assert list(settings.values()) == [width, layers, heads, hidden]


def test_older_vit_small_by_arguments():
    """SCM's ViT-S: width 768, 8 layers, attention scale by the width, eps 1e-5."""
    vit = TokenVisionTransformer('small', img_size=32, qk_scale=768**-0.5, norm_cfg=dict(type='LN', eps=1e-5))
    assert len(vit.layers) == 8
    assert vit.layers[3].attn.scale == 768**-0.5
    assert vit.layers[3].ln2.eps == vit.ln1.eps == 1e-5
    assert vit.layers[0].ffn.feedforward_channels == 2304


def test_drop_path_grows_linearly(build_vit):
    vit = build_vit(drop_path_rate=0.1)
    rates = [(layer.attn.out_drop.drop_prob, layer.ffn.dropout_layer.drop_prob) for layer in vit.layers]
    assert rates == [(pytest.approx(rate), pytest.approx(rate)) for rate in (0, 0.05, 0.1)]
    assert vit.ln1.eps == vit.layers[0].ln1.eps == 1e-6


def test_initialisation():
    vit = TokenVisionTransformer('vit-tiny')
    vit.init_weights()
    assert abs(vit.pos_embed.std().item() - 0.02) < 1e-3
    assert 0.01 < vit.cls_token.std().item() < 0.03
    bound = (3 * 16 * 16) ** -0.5
    assert 0.98 * bound < vit.patch_embed.projection.weight.abs().max() <= bound
    assert abs(vit.layers[5].ffn.layers[0][0].weight.std().item() - 0.02) < 1e-3
    assert not vit.layers[5].ffn.layers[0][0].bias.any()


def test_frozen_stages(build_vit):
    vit = build_vit(frozen_stages=2)
    frozen = {name for name, parameter in vit.named_parameters() if not parameter.requires_grad}
    assert {'pos_embed', 'cls_token', 'layers.1.ln1.weight'} <= frozen
    assert not any(name.startswith(('layers.2', 'ln1')) for name in frozen)


def test_copies_and_pickles(build_vit):
    vit = build_vit()
    images = torch.randn(1, 3, 32, 32)
    expected = vit(images, {'class_attention'})
    for twin in (copy.deepcopy(vit), pickle.loads(pickle.dumps(vit))):
        found = twin(images, {'class_attention'})
        assert torch.equal(found.feature_map, expected.feature_map)
        assert torch.equal(found.class_attention, expected.class_attention)


def test_checkpoint_of_another_size_is_interpolated(build_vit):
    small, large = build_vit(), build_vit(img_size=48)
    state = small.state_dict()
    large.load_state_dict(state)
    torch.testing.assert_close(large.pos_embed[:, 0], small.pos_embed[:, 0])
    # The mean of a smooth enlargement stays about the same.
    assert large.pos_embed.shape == (1, 37, 24)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(arch='deit-huge'), "arch: expected one of .*got 'deit-huge'"),
        (
            dict(arch=dict(embed_dims=8)),
            r"arch: expected the keys \['feedforward_channels', 'num_heads', 'num_layers'\] too, got",
        ),
    ],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TokenVisionTransformer(**kwargs)


def test_layer_class_can_be_replaced():
    class Layer(TokenVisionTransformer.layer_class):
        pass

    class Backbone(TokenVisionTransformer):
        layer_class = Layer

    vit = Backbone(dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48), img_size=32)
    assert all(type(layer) is Layer for layer in vit.layers)


@pytest.mark.parametrize(
    'kind', sorted({method.backbone for method in METHODS.values()} - {'VGG16', 'TimmBackbone'})
)
def test_all_that_is_given_can_be_had_at_once(build_vit, kind):
    vit = build_vit(type=kind)
    feats = vit(torch.randn(1, 3, 32, 32), vit.gives)
    for name in vit.gives:
        assert feats.require(name) is not None
