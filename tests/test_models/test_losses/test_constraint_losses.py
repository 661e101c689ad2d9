"""Tests of the losses of CATR's object constraint, and of the automatic weighting."""

from wsol_mm.models.losses import AutomaticLossWeighting, LowAttentionAreaLoss, MapAlignmentLoss

import pytest
import torch


def test_lowest_values_are_kept_with_ties():
    maps = torch.tensor([[[4.0, 1.0], [3.0, 1.0]], [[8.0, 7.0], [6.0, 5.0]]], requires_grad=True)
    # Rank int(4 * 0.25) = 1: values up to 1 (twice) and up to 6.
    loss = LowAttentionAreaLoss(ratio=0.25)(maps)
    assert loss.item() == (1 + 1 + 5 + 6) / 4
    kept = torch.tensor([[[0.0, 0.25], [0.0, 0.25]], [[0.0, 0.0], [0.25, 0.25]]])
    torch.testing.assert_close(torch.autograd.grad(loss, maps)[0], kept)
    tied = torch.tensor([[[2.0, 2.0], [2.0, 9.0]]])
    assert LowAttentionAreaLoss(ratio=0.0)(tied).item() == 6 / 4, 'all of equal value'


def test_area_of_the_published_ratios():
    maps = torch.arange(196.0).reshape(1, 14, 14)
    assert LowAttentionAreaLoss(ratio=0.25)(maps).item() == pytest.approx(sum(range(50)) / 196)
    assert LowAttentionAreaLoss(ratio=0.1)(maps).item() == pytest.approx(sum(range(20)) / 196)


def test_area_loss_may_be_made_independent_of_the_batch():
    maps = torch.rand(3, 4, 4)
    loss = LowAttentionAreaLoss(reference_batch=6)
    torch.testing.assert_close(loss(maps), 2 * LowAttentionAreaLoss()(maps))
    torch.testing.assert_close(loss(maps), loss(torch.cat((maps, maps))))


@pytest.mark.parametrize('detach_target', [False, True])
def test_every_pair_of_the_batch(detach_target):
    maps, attention = (torch.rand(5, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    pairs = (maps[None] - attention[:, None]).square().mean()
    loss = MapAlignmentLoss(detach_target=detach_target)(maps, attention)
    torch.testing.assert_close(loss, pairs)
    expected = torch.autograd.grad(pairs, (maps, attention))
    found = torch.autograd.grad(loss, (maps, attention), allow_unused=True)
    torch.testing.assert_close(found[0], expected[0])
    if detach_target:
        assert found[1] is None
    else:
        torch.testing.assert_close(found[1], expected[1])


def test_pairs_keep_their_precision_far_from_zero():
    maps, attention = 1000 + torch.rand(4, 2, 2), 1000 + torch.rand(4, 2, 2)
    exact = (maps.double()[None] - attention.double()[:, None]).square().mean()
    torch.testing.assert_close(MapAlignmentLoss()(maps, attention).double(), exact, rtol=1e-4, atol=0)


def test_same_image_only():
    maps, attention = torch.rand(2, 3, 2, 2)
    loss = MapAlignmentLoss(pairing='sample')(maps, attention)
    torch.testing.assert_close(loss, (maps - attention).square().mean())


def test_weights_are_learned():
    weighting = AutomaticLossWeighting(2)
    weighting.params.data = torch.tensor([2.0, 0.5])
    losses = weighting([torch.tensor(4.0), torch.tensor(3.0)])
    expected = [0.5 / 4 * 4 + torch.tensor(5.0).log(), 0.5 / 0.25 * 3 + torch.tensor(1.25).log()]
    torch.testing.assert_close(losses, [value.reshape(()) for value in expected])
    sum(losses).backward()
    # d/dp of 0.5 L / p^2 + log(1 + p^2)
    torch.testing.assert_close(weighting.params.grad, torch.tensor([-4 / 8 + 4 / 5, -3 / 0.125 + 1 / 1.25]))
    torch.testing.assert_close(AutomaticLossWeighting(3).params.data, torch.ones(3))


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: LowAttentionAreaLoss(ratio=1.0), r'ratio: expected a number in \[0, 1\), got 1.0'),
        (
            lambda: LowAttentionAreaLoss(reference_batch=0),
            'reference_batch: expected an integer from 1, got 0',
        ),
        (
            lambda: MapAlignmentLoss(pairing='all'),
            "pairing: expected one of .*'batch', 'sample'.*, got 'all'",
        ),
        (
            lambda: AutomaticLossWeighting(2)([torch.tensor(1.0)]),
            'losses: expected 2, one for each weight, got 1',
        ),
    ],
)
def test_errors(build, message):
    with pytest.raises(ValueError, match=message):
        build()
