"""GEM's head: cosines with texts."""

from wsol_mm.models.heads import GEMHead
from wsol_mm.structures import Features

import pytest
import torch
from mmpretrain.structures import DataSample

TEXTS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])


@pytest.fixture
def head():
    built = GEMHead(num_classes=1, in_channels=2)
    built.set_texts(TEXTS)
    return built


@pytest.fixture
def feats():
    """One image of three patches: like the first text, like the second, and against the first."""
    patches = torch.tensor([[2.0, 0.0], [0.0, 5.0], [-3.0, 0.0]]).T.reshape(1, 2, 1, 3)
    return Features(torch.zeros(1, 2, 1, 3), torch.tensor([[0.0, 4.0]]), extras={'gem_map': patches})


def test_logits_are_scaled_cosines(head, feats):
    assert head.num_classes == 3
    torch.testing.assert_close(head(feats), torch.tensor([[0.0, 100.0, 80.0]]))
    torch.testing.assert_close(GEMHead(1, 2, logit_scale=1.0).logit_scale, 1.0)


def test_maps_are_cosines_of_the_wanted_texts(head, feats):
    maps = head.localization_maps(feats, torch.tensor([[2, 0]]))
    torch.testing.assert_close(maps, torch.tensor([[[[0.6, 0.8, -0.6]], [[1.0, 0.0, -1.0]]]]))


def test_other_texts_for_the_maps(head, feats):
    head.set_texts(TEXTS, TEXTS[[0, 0, 0]])
    torch.testing.assert_close(head(feats), torch.tensor([[0.0, 100.0, 80.0]]))
    maps = head.localization_maps(feats, torch.tensor([[1, 2]]))
    torch.testing.assert_close(maps, torch.tensor([[[[1.0, 0.0, -1.0]], [[1.0, 0.0, -1.0]]]]))


def test_prediction(head, feats):
    (sample,) = head.predict(feats, [DataSample().set_gt_label(0)])
    assert sample.pred_topk.tolist() == [1, 2, 0] and sample.loc_labels.tolist() == [0, 1, 2, 0]
    torch.testing.assert_close(sample.loc_maps[1], torch.tensor([[0.0, 1.0, 0.0]]))
    assert sample.pred_score.sum().item() == pytest.approx(1)


def test_half_precision_features_are_compared_in_float32(head, feats):
    half = feats._replace(
        cls_token=feats.cls_token.half(), extras={'gem_map': feats.require('gem_map').half()}
    )
    assert head(half).dtype == torch.float32
    assert head.localization_maps(half, torch.tensor([[0]])).dtype == torch.float32


def test_it_has_no_weights(head):
    assert not head.state_dict() and not list(head.parameters())


def test_without_texts(feats):
    with pytest.raises(
        ValueError, match='model.class_names: expected the names of what is to be found, got none'
    ):
        GEMHead(num_classes=3, in_channels=2)(feats)


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        ((torch.zeros(3, 4),), r'class_texts: expected features \(C, 2\) .* got the shape \(3, 4\)'),
        ((torch.zeros(2),), r'class_texts: .* got the shape \(2,\)'),
        ((TEXTS, TEXTS[:2]), r'map_texts: .* of the same classes, got the shape \(2, 2\)'),
    ],
)
def test_texts_of_another_shape(texts, message):
    with pytest.raises(ValueError, match=message):
        GEMHead(1, 2).set_texts(*texts)
