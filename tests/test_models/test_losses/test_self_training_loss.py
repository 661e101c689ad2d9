"""Tests of wsol_mm.models.losses.self_training_loss."""

from wsol_mm.models.losses import SelfTrainingLoss

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

LOGITS = torch.tensor([[[0.5, -1.0], [2.0, 0.0]]])
PSEUDO, OWN, REFINED = (
    torch.tensor([[[a, b], [c, 0]]]).bool() for a, b, c in ((1, 1, 0), (1, 0, 1), (0, 0, 1))
)


def test_the_published_phases():
    loss = SelfTrainingLoss(first_phase=10)
    first, second = (loss(LOGITS, step, PSEUDO, OWN, REFINED) for step in (9, 10))
    refined = 1.5 * cross_entropy(LOGITS, REFINED.float())
    torch.testing.assert_close(first['loss_refined'], refined)
    torch.testing.assert_close(first['loss_pseudo'], cross_entropy(LOGITS, PSEUDO.float()))
    assert set(first) == {'loss_refined', 'loss_pseudo'}
    torch.testing.assert_close(second['loss_refined'], refined)
    torch.testing.assert_close(second['loss_self'], 4 * cross_entropy(LOGITS, OWN.float()))
    assert set(second) == {'loss_refined', 'loss_self'}


def test_pseudo_masks_alone_at_first():
    loss = SelfTrainingLoss(first_phase=10, first_targets='pseudo', pseudo_weight=2.0)
    assert not loss.needs_refined(9) and loss.needs_refined(10)
    first = loss(LOGITS, 9, PSEUDO, OWN, None)
    assert set(first) == {'loss_pseudo'}
    torch.testing.assert_close(first['loss_pseudo'], 2 * cross_entropy(LOGITS, PSEUDO.float()))
    # without refinement the second phase is 5.5 times the cross-entropy with the decoder's own masks
    second = sum(loss(LOGITS, 10, PSEUDO, OWN, OWN).values())
    torch.testing.assert_close(second, 5.5 * cross_entropy(LOGITS, OWN.float()))


def test_errors():
    with pytest.raises(ValueError, match=r"first_targets: expected one of \(.*\), got 'own'"):
        SelfTrainingLoss(first_targets='own')
    with pytest.raises(ValueError, match='first_phase: expected an integer from 0, got -1'):
        SelfTrainingLoss(first_phase=-1)
