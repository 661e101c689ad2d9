"""Tests of wsol_mm.models.backbones.conformer."""

import copy

from wsol_mm.models.backbones import TokenConformer

import pytest
import torch
from mmpretrain.models.backbones import Conformer
from torch import nn


def test_features_are_mmpretrains(build_conformer):
    ours = build_conformer()
    theirs = Conformer(arch=ours.arch_settings, norm_eval=False)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    theirs.eval()
    images = torch.randn(2, 3, 64, 64)
    pooled, cls_token = theirs(images)[0]
    feats = ours(images)
    torch.testing.assert_close(feats.extras['conv_map'].mean(dim=(2, 3)), pooled)
    torch.testing.assert_close(feats.cls_token, cls_token)
    assert feats.feature_map.shape == (2, 24, 4, 4) and feats.extras['conv_map'].shape == (2, 64, 2, 2)
    assert ours.conv_channels == 64


def test_class_row_is_row_zero_of_the_full_attention(build_conformer):
    conformer = build_conformer()
    images = torch.randn(2, 3, 64, 64)
    row, full = conformer(images, {'class_attention'}), conformer(images, {'full_attention'})
    matrices = full.extras['full_attention']
    assert row.class_attention.shape == (2, 3, 2, 17) and matrices.shape == (2, 3, 2, 17, 17)
    torch.testing.assert_close(row.class_attention, matrices[..., 0, :])
    assert torch.equal(full.class_attention, matrices[..., 0, :])


@pytest.mark.parametrize('size', [(64, 96), (80, 48), (50, 70)])
def test_any_input_size(build_conformer, size):
    feats = build_conformer()(torch.randn(1, 3, *size), {'class_attention'})
    grid = tuple(-(-side // 16) for side in size)
    assert feats.grid == grid
    assert feats.class_attention.shape[-1] == 1 + grid[0] * grid[1]


def test_patch_32(build_conformer):
    feats = build_conformer(patch_size=32)(torch.randn(1, 3, 64, 96), {'class_attention'})
    assert feats.grid == (2, 3)


def test_constants(build_conformer):
    conformer = build_conformer(drop_path_rate=0.1)
    exceptions = {conformer.bn1, conformer.trans_norm}
    for module in conformer.modules():
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            assert module.eps == (1e-5 if module in exceptions else 1e-6)
        if isinstance(module, nn.BatchNorm2d):
            assert module.momentum == 0.1
    rates = {
        name: module.drop_prob
        for name, module in conformer.named_modules()
        if type(module).__name__ == 'DropPath' and module.drop_prob > 0
    }
    assert rates == {
        f'conv_trans_{i}.trans_block.{branch}': pytest.approx(0.05 * (i - 1))
        for i in (2, 3)
        for branch in ('attn.out_drop', 'ffn.dropout_layer')
    }, 'drop-path in the transformer layers alone'


def test_batch_norm_is_trained(build_conformer):
    conformer = build_conformer().train()
    before = conformer.conv_trans_2.cnn_block.bn1.running_mean.clone()
    conformer(torch.randn(4, 3, 64, 64))
    assert not torch.equal(conformer.conv_trans_2.cnn_block.bn1.running_mean, before)


def test_initialisation():
    conformer = TokenConformer('tiny')
    conformer.init_weights()
    assert torch.equal(conformer.conv_trans_3.fusion_block.bn3.weight, torch.ones(64)), 'not zero'
    linear = conformer.conv_trans_3.trans_block.ffn.layers[0][0]
    assert abs(linear.weight.std().item() - 0.02) < 1e-3 and not linear.bias.any()
    projection = conformer.conv_trans_3.squeeze_block.conv_project
    assert abs(projection.weight.std().item() / (2 / 384) ** 0.5 - 1) < 0.05
    assert projection.bias.any(), "PyTorch's default"
    assert 0.01 < conformer.cls_token.std().item() < 0.03


def test_copies(build_conformer):
    conformer = build_conformer()
    images = torch.randn(1, 3, 64, 64)
    twin = copy.deepcopy(conformer)
    assert torch.equal(
        twin(images, {'class_attention'}).class_attention,
        conformer(images, {'class_attention'}).class_attention,
    )


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(arch='huge'), "arch: expected one of .*got 'huge'"),
        (
            dict(arch=dict(embed_dims=24, depths=3)),
            r'arch: expected the keys .*got \[.depths., .embed_dims.\]',
        ),
        (dict(arch=dict(embed_dims=24, depths=4, num_heads=2, channel_ratio=1)), 'multiple of 3.*got 4'),
        (dict(patch_size=8), 'patch_size: expected a multiple of 16, got 8'),
    ],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TokenConformer(**kwargs)
