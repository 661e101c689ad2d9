"""Tests of wsol_mm.models.losses.background_activation_loss."""

from wsol_mm.models.losses import BackgroundActivationLoss

import pytest
import torch


@pytest.mark.parametrize(('keep_equal', 'equal'), [(False, 0.0), (True, 1.0)])
def test_scores_that_grow_do_not_count(keep_equal, equal):
    background = torch.tensor([1.0, 3.0, 2.0, 5.0], requires_grad=True)
    whole = torch.tensor([4.0, 4.0, 2.0, 4.0], requires_grad=True)
    maps = torch.tensor([0.1, 0.2, 0.3, 0.8])[:, None, None].expand(4, 3, 5)
    suppression, area = BackgroundActivationLoss(1.5, keep_equal)(background, whole, maps)
    torch.testing.assert_close(suppression, torch.tensor((1 / 4 + 3 / 4 + equal + 0) / 4))
    torch.testing.assert_close(area, torch.tensor(1.5 * 0.35))
    suppression.backward()
    torch.testing.assert_close(background.grad, torch.tensor([1 / 16, 1 / 16, equal / 8, 0.0]))
    assert whole.grad is None


def test_an_image_without_activation_counts_as_nothing():
    zero = torch.zeros(2, requires_grad=True)
    suppression, _ = BackgroundActivationLoss()(zero, torch.zeros(2), torch.zeros(2, 3, 3))
    suppression.backward()
    assert suppression == 0 and zero.grad.tolist() == [0, 0]
