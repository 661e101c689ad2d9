"""Tests of wsol_mm.models.heads.acol_head."""

from wsol_mm.models.heads import ACoLHead
from wsol_mm.structures import Features

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample


@pytest.fixture
def head() -> ACoLHead:
    torch.manual_seed(0)
    head = ACoLHead(num_classes=5, in_channels=6, hidden_channels=(7, 8), erase_threshold=0.6).double()
    for parameter in head.parameters():
        parameter.data.normal_(std=0.5)
    return head


@pytest.fixture
def feats() -> Features:
    torch.manual_seed(1)
    return Features(torch.randn(2, 6, 3, 4, dtype=torch.float64, requires_grad=True))


def branch(convs, classifier, x: torch.Tensor) -> torch.Tensor:
    """All class maps of a branch, step by step."""
    for conv in convs:
        x = F.conv2d(x, conv[0].weight, conv[0].bias, padding=1).relu()
    return F.conv2d(x, classifier.weight, classifier.bias)


def scaled(one: torch.Tensor) -> torch.Tensor:
    return (one - one.min()) / (one.max() - one.min())


def erased_maps(head: ACoLHead, feats: Features, labels) -> torch.Tensor:
    """All maps of branch B when the region of one label per image is erased."""
    maps = branch(head.convs_a, head.semantic_conv_a, feats.feature_map)
    kept = torch.stack([scaled(one[label]) < 0.6 for one, label in zip(maps, labels, strict=True)])
    assert 0 < kept.double().mean() < 1
    return branch(head.convs_b, head.semantic_conv_b, feats.feature_map * kept[:, None])


def test_losses_and_their_gradient(head, feats):
    labels = torch.tensor([1, 4])
    losses = head.loss(feats, [DataSample().set_gt_label(int(label)) for label in labels])
    maps_a = branch(head.convs_a, head.semantic_conv_a, feats.feature_map)
    loss_a = F.cross_entropy(maps_a.mean(dim=(2, 3)), labels)
    loss_b = F.cross_entropy(erased_maps(head, feats, labels).mean(dim=(2, 3)), labels)
    torch.testing.assert_close(losses['loss_a'], loss_a)
    torch.testing.assert_close(losses['loss_b'], loss_b)
    assert set(losses) == {'loss_a', 'loss_b', 'accuracy_top-1'}
    torch.testing.assert_close(head(feats), maps_a.mean(dim=(2, 3)))
    inputs = [feats.feature_map, *head.parameters()]
    found = torch.autograd.grad(losses['loss_a'] + losses['loss_b'], inputs)
    for ours, plain in zip(found, torch.autograd.grad(loss_a + loss_b, inputs), strict=True):
        torch.testing.assert_close(ours, plain)


def test_maps_erase_the_region_of_the_class_that_is_wanted(head, feats):
    labels = torch.tensor([[1, 4, 0], [3, 3, 2]])
    maps_a = branch(head.convs_a, head.semantic_conv_a, feats.feature_map)
    expected = torch.stack(
        [
            torch.stack(
                [
                    torch.maximum(scaled(maps_a[i, label]), scaled(maps_b[i, label]))
                    for i, label in enumerate(column)
                ]
            )
            for column in labels.T
            for maps_b in [erased_maps(head, feats, column)]
        ],
        dim=1,
    )
    torch.testing.assert_close(head.localization_maps(feats, labels), expected)
    torch.testing.assert_close(head.localization_maps(head.prepare(feats), labels), expected)


def test_a_constant_map_erases_nothing(head):
    attention = torch.tensor([[[[float('nan'), 0.6, 0.59]]]])
    assert head.kept(attention).tolist() == [[[[True, False, True]]]]
    flat = Features(torch.zeros(1, 6, 1, 1, dtype=torch.float64))
    constant = head.attention(flat, torch.tensor([[1]]))
    assert constant.isnan().all()
    plain = branch(head.convs_b, head.semantic_conv_b, flat.feature_map)
    torch.testing.assert_close(head.semantic_conv_b(head.hidden_b(flat, constant)), plain)


def test_initialisation():
    head = ACoLHead(5, 64, (128, 128))
    head.init_weights()
    bound = (6 / (64 * 9 + 128 * 9)) ** 0.5
    assert bound * 0.99 < head.convs_b[0][0].weight.abs().max() <= bound
    assert not head.semantic_conv_a.bias.any()


def test_errors():
    with pytest.raises(ValueError, match=r'hidden_channels: expected two numbers, got \(8,\)'):
        ACoLHead(5, 6, (8,))
