"""Tests of wsol_mm.models.layers.pseudo_masks."""

from wsol_mm.models.layers import AttentionMasks, BackgroundMasks, SavedMapMasks, background_discovery
from wsol_mm.structures import Features

import pytest
import torch
from mmpretrain.structures import DataSample


def feats(num_images: int = 2) -> Features:
    generator = torch.Generator().manual_seed(0)
    attention = torch.randn(num_images, 1, 3, 1 + 20, generator=generator).softmax(dim=-1)
    keys = torch.randn(num_images, 20, 12, generator=generator)
    return Features(torch.zeros(num_images, 12, 4, 5), None, attention, extras={'keys': keys})


def test_what_is_not_background_is_object():
    masks = BackgroundMasks(threshold=0.1)(feats(), [])
    found = background_discovery(feats().class_attention[:, 0, :, 1:], feats().require('keys'))
    assert torch.equal(masks, ~(found.cosine > 0.1).unflatten(1, (4, 5)))
    plain = BackgroundMasks(threshold=0.1, apply_weights=False)(feats(), [])
    found = background_discovery(feats().class_attention[:, 0, :, 1:], feats().require('keys'), False)
    assert torch.equal(plain, ~(found.cosine > 0.1).unflatten(1, (4, 5)))
    assert BackgroundMasks.needs == {'keys', 'class_attention'}


def test_attention_above_its_mean():
    masks = AttentionMasks()(feats(), [])
    attention = feats().class_attention[:, 0, :, 1:].mean(dim=1).unflatten(1, (4, 5))
    assert torch.equal(masks, attention > attention.mean(dim=(1, 2), keepdim=True))
    assert AttentionMasks(threshold=2.0)(feats(), []).sum() < masks.sum()


def test_maps_made_elsewhere():
    maps = torch.tensor([[[0.0, 2.0], [4.0, 1.0]], [[5.0, 5.0], [5.0, 5.0]]])
    samples = [DataSample() for _ in maps]
    for sample, value in zip(samples, maps, strict=True):
        sample.pseudo_map = value
    small = Features(torch.zeros(2, 3, 2, 2))
    masks = SavedMapMasks(threshold=0.4)(small, samples)
    assert masks.tolist() == [[[False, True], [True, False]], [[False, False], [False, False]]]
    enlarged = SavedMapMasks(threshold=0.4)(Features(torch.zeros(2, 3, 4, 4)), samples)
    assert enlarged.shape == (2, 4, 4) and enlarged[0, 3, 0] and not enlarged[0, 0, 0]
    with pytest.raises(ValueError, match="data sample: expected 'pseudo_map', .*LoadPseudoMap"):
        SavedMapMasks(threshold=0.4)(small, [DataSample()])


@pytest.mark.parametrize('kind', [BackgroundMasks, AttentionMasks])
@pytest.mark.parametrize('area', [0.05, 0.25, 0.6])
def test_the_threshold_of_an_area(kind, area):
    masks = kind(target_area=area)(feats(8), [])
    assert masks.float().mean().item() == pytest.approx(area, abs=0.5 / masks.numel() + 0.01)
    assert masks.float().mean(dim=(1, 2)).std() > 0  # single images differ


@pytest.mark.parametrize('kind', [BackgroundMasks, SavedMapMasks])
def test_no_threshold_is_silent(kind):
    with pytest.raises(ValueError, match=r'threshold, target_area: expected one of them, got neither\. The'):
        kind()
    with pytest.raises(ValueError, match=r'got both, 0\.3 and 0\.2'):
        kind(threshold=0.3, target_area=0.2)
    with pytest.raises(ValueError, match=r'target_area: expected a number in \(0, 1\), got 1\.5'):
        kind(target_area=1.5)
