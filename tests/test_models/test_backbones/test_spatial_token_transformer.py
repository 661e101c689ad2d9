"""Tests of wsol_mm.models.backbones.spatial_token_transformer."""

from wsol_mm.models.backbones import SpatialTokenTransformer
from wsol_mm.registry import MODELS

import pytest
import torch


@pytest.fixture
def build(build_vit):
    def build(**kwargs) -> SpatialTokenTransformer:
        return build_vit(type='SpatialTokenTransformer', **{'masked_layers': 2, **kwargs})

    return build


@pytest.mark.parametrize('size', [(32, 32), (32, 48), (24, 40), (64, 64)])
def test_features_at_any_grid(build, size):
    height, width = (side // 8 for side in size)
    feats = build()(torch.randn(2, 3, *size))
    assert feats.grid == (height, width)
    assert feats.extras['spatial_mask'].shape == (2, 2, height * width + 2)
    assert feats.class_attention is None
    assert 0 < feats.extras['spatial_mask'].min() < feats.extras['spatial_mask'].max() < 1


def test_spatial_token_is_last_with_its_own_position(build):
    backbone = build()
    images = torch.randn(2, 3, 32, 32)
    tokens, grid = backbone.embed(images)
    assert tokens.shape == (2, 18, 24) and grid == (4, 4)
    torch.testing.assert_close(
        tokens[:, -1], (backbone.spatial_token + backbone.spatial_pos_embed)[0].expand(2, -1)
    )
    torch.testing.assert_close(tokens[:, :-1], super(SpatialTokenTransformer, backbone).embed(images)[0])


def test_spatial_token_takes_part_in_all_layers(build):
    """Also in those before the mask: it reads from the patches and writes to them."""
    backbone = build()
    images = torch.randn(2, 3, 32, 32)
    before = backbone(images).feature_map
    first = backbone.layers[0](backbone.embed(images)[0])[0]
    backbone.spatial_token.data.normal_()
    assert not torch.allclose(before, backbone(images).feature_map, atol=1e-3)
    assert not torch.allclose(
        first[:, :-1], backbone.layers[0](backbone.embed(images)[0])[0][:, :-1], atol=1e-4
    )


@pytest.mark.parametrize('masked_layers', [1, 3])
def test_last_layers_are_masked(build, masked_layers):
    backbone = build(masked_layers=masked_layers)
    assert [layer.attn.masked for layer in backbone.layers] == [False] * (3 - masked_layers) + [
        True
    ] * masked_layers
    assert backbone(torch.randn(1, 3, 32, 32)).extras['spatial_mask'].shape[1] == masked_layers


def test_attention_can_be_asked_for_as_well(build):
    feats = build()(torch.randn(2, 3, 32, 32), {'class_attention'})
    assert feats.class_attention.shape == (2, 3, 2, 18) and feats.extras['spatial_mask'].shape == (2, 2, 18)
    torch.testing.assert_close(feats.class_attention.sum(dim=-1), torch.ones(2, 3, 2))


def test_own_layer_settings_are_kept(build):
    backbone = build(layer_cfgs=[dict(), dict(drop_path_rate=0.2), dict()])
    assert backbone.layers[1].attn.out_drop.drop_prob == 0.2 and backbone.layers[1].attn.masked


@pytest.mark.parametrize('masked_layers', [0, 4])
def test_wrong_number_of_masked_layers_is_refused(build, masked_layers):
    with pytest.raises(
        ValueError, match=f'masked_layers: expected an integer from 1 to 3, .* got {masked_layers}'
    ):
        build(masked_layers=masked_layers)


@pytest.mark.parametrize(
    ('arch', 'classes', 'parameters'),
    [
        ('deit-tiny', 200, 5_870_600),
        ('deit-tiny', 1000, 7_253_800),
        ('deit-small', 200, 22_357_832),
        ('deit-small', 1000, 25_123_432),
        ('deit-base', 200, 87_182_792),
    ],
)
def test_number_of_parameters_is_the_published_one(arch, classes, parameters):
    width = {'deit-tiny': 192, 'deit-small': 384, 'deit-base': 768}[arch]
    with torch.device('meta'):
        model = MODELS.build(
            dict(
                type='ImageLocalizer',
                backbone=dict(type='SpatialTokenTransformer', arch=arch),
                head=dict(type='SATHead', num_classes=classes, in_channels=width),
            )
        )
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_tokens_start_as_the_class_token_does():
    backbone = MODELS.build(
        dict(
            type='SpatialTokenTransformer',
            arch=dict(embed_dims=512, num_layers=1, num_heads=1, feedforward_channels=8),
            img_size=32,
            masked_layers=1,
        )
    )
    backbone.init_weights()
    for token in (backbone.cls_token, backbone.spatial_token, backbone.spatial_pos_embed):
        assert abs(token.std().item() - 0.02) < 4e-3 and abs(token.mean().item()) < 4e-3
