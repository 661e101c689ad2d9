"""Tests of wsol_mm.models.heads.trilite_head, its layer and its loss."""

from wsol_mm.models.heads import TriLiteHead
from wsol_mm.models.heads.trilite_head import border_and_mean
from wsol_mm.models.layers import region_features, region_probabilities
from wsol_mm.models.losses import AdversarialBackgroundLoss
from wsol_mm.models.weights import convert_state_dict
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
    pool = TriLiteHead(3, 4, pooling='pooled').eval()
    assert pool.logits_needs == {'pooled'} and pool.loss_needs == {'pooled', 'pre_norm_map'}
    given = torch.randn(2, 4)
    torch.testing.assert_close(pool(feats().with_extras(pooled=given)), pool.classifier(given))


def test_official_weights_with_registers():
    shapes = dict(register_tokens=(1, 2, 4), cls_token=(1, 1, 4), pos_embed=(1, 7, 4), mask_token=(1, 4))
    shapes |= {'blocks.0.mlp.w12.bias': (6,), 'blocks.0.mlp.w3.bias': (4,)}
    given = {f'backbone.model.{name}': torch.randn(shape) for name, shape in shapes.items()}
    head = {'triHead.activation_head.weight': torch.randn(3, 4, 3, 3)}
    ours = convert_state_dict('trilite', {**given, **head})
    ours = {name.removeprefix('backbone.model.'): value for name, value in ours.items()}
    names = {'reg_token', 'cls_token', 'pos_embed', 'blocks.0.mlp.fc1.bias', 'blocks.0.mlp.fc2.bias'}
    assert set(ours) == names | {'head.regions.conv.weight'}
    # timm's table has places for patches alone: that of the class token is part of the token.
    table = given['backbone.model.pos_embed']
    assert torch.equal(ours['pos_embed'], table[:, 1:])
    assert torch.equal(ours['cls_token'], given['backbone.model.cls_token'] + table[:, :1])
    plain = {**given, **head}
    del plain['backbone.model.register_tokens']
    assert torch.equal(convert_state_dict('trilite', plain)['backbone.model.pos_embed'], table)


def test_the_weight_of_the_background_follows_the_number_of_classes():
    assert TriLiteHead(200, 4).background_loss.loss_weight == 100
    assert TriLiteHead(1000, 4).background_loss.loss_weight == 500
    assert TriLiteHead(1000, 4, background_loss=dict(loss_weight=3)).background_loss.loss_weight == 3


def test_the_border_is_the_outermost_ring():
    maps = torch.zeros(2, 3, 4)
    maps[0, 1, 1:3] = 1.0
    maps[1, 0] = 1.0
    torch.testing.assert_close(border_and_mean(maps), torch.tensor([[0.0, 2 / 12], [4 / 10, 4 / 12]]))


def test_foreground_on_the_border_costs():
    samples = [DataSample().set_gt_label(label) for label in (1, 2)]
    head = TriLiteHead(3, 4, border_weight=5.0).eval()
    losses = head.loss(feats(), samples)
    maps = head.localization_maps(feats(), torch.zeros(2, 1))[:, 0]
    torch.testing.assert_close(losses['loss_border'], 5 * border_and_mean(maps)[:, 0].mean())
    torch.testing.assert_close(losses['loss_border'], 5 * losses['border_area'])
    assert 'loss_border' not in TriLiteHead(3, 4).loss(feats(), samples)
    with pytest.raises(ValueError, match='border_weight: expected a number from 0, got -1'):
        TriLiteHead(3, 4, border_weight=-1)


def test_regions_that_have_changed_places_are_noticed(capsys):
    head = TriLiteHead(3, 4)
    samples = [DataSample().set_gt_label(label) for label in (1, 2)]
    assert not head.failed and head.guarded_from(400) == 100
    losses = head.loss(feats(), samples)
    torch.testing.assert_close(head.areas, torch.stack([losses['border_area'], losses['mean_area']]))
    again = head.loss(feats(), samples)
    expected = 0.9 * losses['mean_area'] + 0.1 * again['mean_area']
    torch.testing.assert_close(head.areas[1], expected)
    head.areas.copy_(torch.tensor([0.4, 0.3]))
    assert head.failed
    TriLiteHead(3, 4).load_state_dict(head.state_dict())
    printed = capsys.readouterr().out
    assert 'border of the images (0.400), got 0.300: foreground and background have changed places' in printed
    head.areas.copy_(torch.tensor([0.1, 0.3]))
    TriLiteHead(3, 4).load_state_dict(head.state_dict())
    assert not head.failed and not capsys.readouterr().out


def test_predicted_maps_that_are_inverted_are_told():
    maps = torch.zeros(2, 3, 4)
    maps[0, 1, 1:3] = 1.0
    maps[1, 0] = 1.0
    areas, inverted = TriLiteHead(3, 4).map_areas(maps)
    torch.testing.assert_close(areas, border_and_mean(maps))
    assert inverted.tolist() == [False, True]


def test_a_restart_has_other_weights():
    torch.manual_seed(0)
    head = TriLiteHead(3, 4)
    head.loss(feats(), [DataSample().set_gt_label(label) for label in (1, 2)])
    before = {name: value.clone() for name, value in head.state_dict().items()}
    head.restart()
    after = head.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {'regions.bn.weight', 'regions.bn.bias'}
    assert not head.areas.any() and after['regions.bn.num_batches_tracked'] == 0


def test_a_checkpoint_need_not_know_the_areas():
    head = TriLiteHead(3, 4)
    state = {name: value for name, value in head.state_dict().items() if name != 'areas'}
    head.areas.copy_(torch.tensor([0.4, 0.3]))
    head.load_state_dict(state)
    assert not head.areas.any() and not head.failed
