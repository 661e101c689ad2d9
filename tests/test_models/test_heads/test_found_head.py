"""Tests of wsol_mm.models.heads.found_head."""

from wsol_mm.models.heads import FOUNDHead
from wsol_mm.models.weights import convert_state_dict
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import pytest
import torch
from mmpretrain.structures import DataSample
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

ATTENTION = dict(type='AttentionMasks')


def feats(grid: tuple[int, int] = (4, 5)) -> Features:
    generator = torch.Generator().manual_seed(0)
    places = grid[0] * grid[1]
    keys = torch.randn(2, places, 6, generator=generator)
    attention = torch.randn(2, 1, 3, 1 + places, generator=generator).softmax(dim=-1)
    token = torch.randn(2, 6, generator=generator)
    return Features(torch.zeros(2, 6, *grid), token, attention, extras={'keys': keys})


def make_head(**options) -> FOUNDHead:
    torch.manual_seed(0)
    return FOUNDHead(3, 6, **{'pseudo_masks': ATTENTION, **options}).eval()


def samples() -> list[DataSample]:
    return [DataSample().set_gt_label(label) for label in (1, 2)]


def test_losses_of_both_phases():
    head = make_head(mask_loss=dict(first_phase=1))
    logits = torch.einsum('bpd,d->bp', feats().require('keys'), head.decoder.weight[0, :, 0, 0])
    logits = (logits + head.decoder.bias).unflatten(1, (4, 5))
    own, pseudo = logits > 0, head.pseudo_masks(feats(), samples())
    own_loss, pseudo_loss = (
        binary_cross_entropy_with_logits(logits, masks.float()) for masks in (own, pseudo)
    )
    first = head.loss(feats(), samples())
    torch.testing.assert_close(first['loss_refined'], 1.5 * own_loss)
    torch.testing.assert_close(first['loss_pseudo'], pseudo_loss)
    torch.testing.assert_close(first['loss_cls'], cross_entropy(head(feats()), torch.tensor([1, 2])))
    torch.testing.assert_close(first['predicted_area'], own.float().mean())
    torch.testing.assert_close(first['pseudo_area'], pseudo.float().mean())
    second = head.loss(feats(), samples())
    torch.testing.assert_close(second['loss_self'], 4 * own_loss)
    assert 'loss_pseudo' not in second and head.iteration == 2
    torch.testing.assert_close(head.areas, torch.stack([pseudo.float().mean(), own.float().mean()]))


def test_maps_are_probabilities():
    head = make_head()
    maps = head.localization_maps(feats(), torch.zeros(2, 1))
    assert maps.shape == (2, 1, 4, 5)
    expected = head.decoder(feats().require('keys').transpose(1, 2).reshape(2, 6, 4, 5)).sigmoid()
    torch.testing.assert_close(maps, expected)
    (sample, _) = head.predict(feats())
    assert sample.loc_labels.tolist() == [-1] and sample.pred_score.shape == (3,)


def test_what_it_needs():
    assert make_head().predict_needs == {'cls_token', 'keys'}
    assert make_head().loss_needs == {'cls_token', 'keys', 'class_attention'}
    tokens = make_head(features='tokens', pooling='mean')
    assert tokens.predict_needs == frozenset()
    torch.testing.assert_close(tokens.mask_logits(feats()), tokens.decoder(feats().feature_map))
    assert tokens.needs_feature_map and not make_head().needs_feature_map
    # no class attention says what the grid is
    assert make_head(pseudo_masks=dict(type='SavedMapMasks', threshold=0.5)).needs_feature_map
    refining = make_head(refinement=dict(type='BilateralRefinement'))
    assert 'pixels' in refining.loss_needs and 'pixels' not in refining.predict_needs
    with pytest.raises(ValueError, match="features: expected one of .*, got 'edges'"):
        make_head(features='edges')


def test_masks_are_refined_where_there_are_images():
    head = make_head(refinement=dict(type='BilateralRefinement'), mask_loss=dict(first_phase=1))
    seen = []
    head.refinement.forward = lambda masks, pixels: (seen.append(masks) or torch.ones_like(masks), 0)
    with_images = feats().with_extras(pixels=torch.zeros(2, 3, 32, 40))
    losses = head.mask_losses(with_images, samples())
    logits = head.mask_logits(feats())[:, 0]
    torch.testing.assert_close(
        losses['loss_pseudo'], binary_cross_entropy_with_logits(logits, torch.ones(2, 4, 5))
    )
    assert len(seen) == 2  # pseudo masks and the decoder's own
    assert losses['pseudo_area'] == head.pseudo_masks(feats(), []).float().mean()  # as they came
    head.mask_losses(with_images, samples())
    assert len(seen) == 3  # nobody follows the pseudo masks any more
    with pytest.raises(ValueError, match='refinement: expected None with cached features, .*, got Bilat'):
        head.mask_losses(feats(), samples())


def test_the_phase_is_part_of_a_checkpoint():
    head, other = make_head(mask_loss=dict(first_phase=2)), make_head(mask_loss=dict(first_phase=2))
    other.mask_losses(feats(), samples())  # has counted by itself
    for _ in range(2):
        head.mask_losses(feats(), samples())
    other.load_state_dict(head.state_dict())
    assert 'loss_self' in other.mask_losses(feats(), samples())
    assert other.iteration == 3


def test_a_collapsed_decoder_says_so_when_it_is_loaded(capsys):
    head = make_head()
    head.areas.copy_(torch.tensor([0.3, 0.2]))
    assert not head.failed
    make_head().load_state_dict(head.state_dict())
    assert not capsys.readouterr().out
    head.areas.copy_(torch.tensor([0.3, 0.19]))
    make_head().load_state_dict(head.state_dict())
    assert 'area of the pseudo masks (0.300), got 0.190: the decoder has collapsed' in capsys.readouterr().out


@pytest.mark.parametrize(('bias', 'patches'), [(-100.0, 8), (100.0, 40)])
def test_masks_that_a_decoder_teaches_itself_have_a_least_area(bias, patches):
    head = make_head(pseudo_masks=dict(type='AttentionMasks', target_area=0.4), min_share=0.5)
    head.mask_loss.first_phase = 0
    torch.nn.init.constant_(head.decoder.bias, bias)
    logits = head.mask_logits(feats())[:, 0]
    # half of 0.4 of 40 patches are the 8 of the largest logits; or all, where all are above 0
    masks = (logits >= logits.flatten().sort(descending=True).values[patches - 1]).float()
    losses = head.mask_losses(feats(), samples())
    torch.testing.assert_close(losses['loss_self'], 4 * binary_cross_entropy_with_logits(logits, masks))
    # the log tells what the decoder predicts
    assert losses['predicted_area'] == (bias > 0)


@pytest.mark.parametrize('share', [0, 1.5])
def test_a_share_that_is_none(share):
    with pytest.raises(ValueError, match=rf'min_share: expected a number in \(0, 1\] or None, got {share}'):
        make_head(min_share=share)


def test_a_restart_has_other_weights():
    head = make_head()
    head.mask_losses(feats(), samples())
    before = {name: value.clone() for name, value in head.state_dict().items()}
    head.restart()
    assert head.iteration == 0 and not head.areas.any()
    for name in ('decoder.weight', 'decoder.bias', 'classifier.weight'):
        assert not torch.equal(head.state_dict()[name], before[name])
    assert 'loss_pseudo' in head.mask_losses(feats(), samples())


def test_the_published_decoder():
    weights = {'weight': torch.randn(1, 384, 1, 1), 'bias': torch.randn(1)}
    converted = convert_state_dict('found', {'decoder': weights})
    model = torch.nn.Module()
    model.head = FOUNDHead(2, 384, pseudo_masks=ATTENTION)
    assert not model.load_state_dict(converted, strict=False).unexpected_keys
    assert torch.equal(model.head.decoder.weight, weights['weight'])
    with pytest.raises(ValueError, match='expected a checkpoint of found'):
        convert_state_dict('found', {'decoder': {'weight': weights['weight']}})


def test_images_come_back_to_what_they_were():
    backbone = dict(
        type='TimmBackbone',
        model_name='vit_tiny_patch16_224',
        attention_layers=1,
        **dict(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2),
    )
    head = dict(type='FOUNDHead', num_classes=2, pseudo_masks=ATTENTION)
    model = MODELS.build(dict(type='wsol_mm.ImageLocalizer', backbone=backbone, head=head))
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    inputs = model.data_preprocessor(dict(inputs=images))['inputs']
    pixels = model.extract_feat(inputs, {'pixels'}).require('pixels')
    torch.testing.assert_close(pixels, images.flip(1).float(), atol=1e-3, rtol=0)  # loaded as BGR
