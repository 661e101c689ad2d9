"""Tests of wsol_mm.models.heads.graph_cut_head."""

from wsol_mm.models.heads import GraphCutHead
from wsol_mm.models.layers import normalized_cut, tokencut
from wsol_mm.structures import Features

import pytest
import torch

KINDS = torch.zeros(5, 6, dtype=torch.int64)
KINDS[1:3, 1:4] = 1


def feats(same: bool = False) -> Features:
    keys = torch.eye(4)[torch.zeros(30, dtype=torch.int64) if same else KINDS.flatten()]
    keys = keys + 0.01 * torch.rand(1, 30, 4, generator=torch.Generator().manual_seed(0)) * (not same)
    token = torch.tensor([[1.0, 0, 0, 2]])
    return Features(torch.zeros(1, 4, 5, 6), token, extras={'keys': keys - 0.2 * (not same)})


@pytest.mark.parametrize('mode', ['tokencut', 'lost', 'maskcut'])
def test_the_planted_object_is_the_map(mode):
    head = GraphCutHead(3, 4, mode=mode, threshold=0.5, as_mask=True)
    maps = head.localization_maps(feats(), torch.zeros(1, 1))
    assert torch.equal(maps[0, 0] > 0, KINDS == 1)
    masks = head.object_masks(feats())
    assert masks.shape == (1, 3 if mode == 'maskcut' else 1, 5, 6)
    if mode != 'maskcut':
        values = GraphCutHead(3, 4, mode=mode, threshold=0.5).localization_maps(feats(), torch.zeros(1, 1))
        assert values[0, 0][KINDS == 1].min() > values[0, 0][KINDS == 0].max()


def test_edges_may_be_as_heavy_as_the_cosines():
    head = GraphCutHead(3, 4, threshold=0.5, weighted=True)
    cut = normalized_cut(feats().require('keys'), 0.5, weighted=True)
    expected = tokencut(cut, (5, 6)).values[:, None].float()
    assert torch.equal(head.localization_maps(feats(), torch.zeros(1, 1)), expected)
    plain = GraphCutHead(3, 4, threshold=0.5).localization_maps(feats(), torch.zeros(1, 1))
    assert not torch.equal(plain, expected)
    with pytest.raises(ValueError, match="weighted: expected False but for the mode 'tokencut', got True"):
        GraphCutHead(3, 4, mode='lost', weighted=True)


def test_all_objects_have_a_map():
    head = GraphCutHead(3, 4, mode='maskcut', threshold=0.5, num_objects=2, all_objects=True).eval()
    maps = head.localization_maps(feats(), torch.zeros(1, 1))
    assert torch.equal(maps > 0, head.object_masks(feats())) and maps.shape[1] == 2
    (sample,) = head.predict(feats())
    assert sample.loc_labels.tolist() == [-1, -1] and torch.equal(sample.loc_maps, maps[0])
    with pytest.raises(ValueError, match="all_objects: expected False but for the mode 'maskcut', got True"):
        GraphCutHead(3, 4, all_objects=True)


def test_a_cut_that_is_not_determined_gives_a_constant_map():
    for as_mask in (False, True):
        head = GraphCutHead(3, 4, threshold=0.5, as_mask=as_mask)
        assert not head.localization_maps(feats(same=True), torch.zeros(1, 1)).any()


def test_classes_come_from_the_class_token():
    head = GraphCutHead(3, 4).eval()
    torch.testing.assert_close(head(feats()), head.classifier(torch.tensor([[1.0, 0, 0, 2]])))
    assert head.predict_needs == {'cls_token', 'keys'}
    assert GraphCutHead(3, 4, features='tokens', pooling='mean').predict_needs == frozenset()


def test_other_values_are_refused():
    with pytest.raises(ValueError, match=r"mode: expected one of \('tokencut', .*\), got 'ncut'"):
        GraphCutHead(3, 4, mode='ncut')
    with pytest.raises(ValueError, match="features: expected one of .*, got 'edges'"):
        GraphCutHead(3, 4, features='edges')
    with pytest.raises(ValueError, match="tokens: expected one of .*, got 'raw'"):
        GraphCutHead(3, 4, tokens='raw')
    with pytest.raises(ValueError, match="pooling: expected one of .*'pooled'.*, got 'max'"):
        GraphCutHead(3, 4, pooling='max')
