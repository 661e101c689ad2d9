"""Tests of wsol_mm.models.heads.sat_head."""

from wsol_mm.models.heads import SATHead
from wsol_mm.structures import Features

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample


@pytest.fixture
def feats() -> Features:
    masks = torch.rand(3, 2, 1 + 20 + 1)
    return Features(torch.randn(3, 24, 4, 5), torch.randn(3, 24), extras={'spatial_mask': masks})


@pytest.fixture
def head() -> SATHead:
    return SATHead(num_classes=9, in_channels=24, area_loss=dict(target_area=0.3))


def labelled(*labels: int) -> list[DataSample]:
    return [DataSample().set_gt_label(label) for label in labels]


def test_losses(head, feats):
    losses = head.loss(feats, labelled(1, 0, 8))
    maps = feats.extras['spatial_mask'].mean(dim=1)[:, 1:21].reshape(3, 4, 5)
    logits = head.semantic_conv(feats.feature_map).mean(dim=(2, 3))
    smooth = F.conv2d(maps[:, None], head.normalization_loss.filter.kernel, padding=1)
    assert set(losses) == {'loss_cls', 'loss_area', 'loss_norm', 'mean_area', 'accuracy_top-1'}
    torch.testing.assert_close(losses['loss_cls'], F.cross_entropy(logits, torch.tensor([1, 0, 8])))
    torch.testing.assert_close(losses['loss_area'], (maps.mean() - 0.3).abs())
    torch.testing.assert_close(losses['loss_norm'], ((1 - smooth) * smooth).mean())
    assert losses['mean_area'] == maps.mean() and not losses['mean_area'].requires_grad


def test_one_map_serves_all_classes(head, feats):
    sample = head.predict(feats, labelled(1, 0, 8))[1]
    maps = feats.extras['spatial_mask'].mean(dim=1)[:, 1:21].reshape(3, 4, 5)
    assert sample.loc_labels.tolist() == [-1]
    torch.testing.assert_close(sample.loc_maps, maps[1:2])
    assert 'attn_map' not in sample


def test_parts_of_the_loss_are_options(feats):
    head = SATHead(9, 24, area_loss=dict(loss_weight=0.0), normalization_loss=dict(kernel_size=5, sigmas=2.0))
    assert head.loss(feats, labelled(1, 0, 8))['loss_area'] == 0
    assert head.normalization_loss.filter.kernel.shape == (1, 1, 5, 5)


def test_backbone_without_spatial_token_is_named(head, feats):
    with pytest.raises(ValueError, match="features: expected 'spatial_mask'"):
        head.loss(feats._replace(extras={}), labelled(1, 0, 8))
