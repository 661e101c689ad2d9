"""Tests of wsol_mm.models.heads.trilite_head, its layer and its loss."""

from wsol_mm.models.heads import TriLiteHead
from wsol_mm.models.layers import region_features, region_probabilities
from wsol_mm.models.losses import AdversarialBackgroundLoss
from wsol_mm.structures import Features

import pytest
import torch
from mmpretrain.structures import DataSample


def feats() -> Features:
    generator = torch.Generator().manual_seed(0)
    tokens, token = torch.randn(2, 4, 3, 5, generator=generator), torch.randn(2, 4, generator=generator)
    return Features(torch.zeros(2, 4, 3, 5), extras={'pre_norm_map': tokens, 'pre_norm_cls_token': token})


def test_region_features_are_weighted_means():
    features = torch.arange(8.0).reshape(1, 2, 2, 2)
    weights = torch.tensor([[[[1.0, 0], [0, 0]], [[0.5, 0.5], [0, 0]]]])
    expected = torch.tensor([[[0.0, 4.0], [0.5, 4.5]]])
    torch.testing.assert_close(region_features(features, weights), expected, rtol=1e-5, atol=1e-5)


def test_the_background_must_not_have_the_class():
    loss = AdversarialBackgroundLoss(loss_weight=3.0)
    logits = torch.tensor([[0.0, 0.0], [50.0, 0.0]])
    even = loss(logits[:1], torch.tensor([0]))
    torch.testing.assert_close(even, torch.tensor(3 * 0.6931469))
    assert loss(logits[1:], torch.tensor([0])).item() == pytest.approx(3 * 16.118, rel=1e-3)
    assert loss(logits[1:], torch.tensor([1])).item() == pytest.approx(0, abs=1e-6)


def test_losses_and_map():
    head = TriLiteHead(3, 4, background_loss=dict(loss_weight=2.0)).eval()
    samples = [DataSample().set_gt_label(label) for label in (1, 2)]
    losses = head.loss(feats(), samples)
    scores = head.regions(feats().require('pre_norm_map'))
    probabilities = region_probabilities(scores)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, 3, 5))
    foreground, background = head.region_logits(feats(), probabilities)
    labels = torch.tensor([1, 2])
    cross_entropy = torch.nn.functional.cross_entropy
    torch.testing.assert_close(losses['loss_foreground'], cross_entropy(foreground, labels))
    torch.testing.assert_close(losses['loss_background'], AdversarialBackgroundLoss(2.0)(background, labels))
    torch.testing.assert_close(losses['loss_cls'], cross_entropy(head(feats()), labels))
    torch.testing.assert_close(losses['mean_area'], probabilities[:, 0].mean())
    torch.testing.assert_close(head.localization_maps(feats(), labels[:, None]), probabilities[:, :1])


def test_it_reads_the_tokens_that_it_is_told_to():
    assert TriLiteHead(3, 4).loss_needs == {'pre_norm_map', 'pre_norm_cls_token'}
    head = TriLiteHead(3, 4, tokens='normed')
    assert head.predict_needs == {'cls_token'}
    assert not TriLiteHead(3, 4).needs_feature_map and head.needs_feature_map
    mean = TriLiteHead(3, 4, pooling='mean').eval()
    expected = mean.classifier(feats().require('pre_norm_map').mean(dim=(2, 3)))
    torch.testing.assert_close(mean(feats()), expected)
