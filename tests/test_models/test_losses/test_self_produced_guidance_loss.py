"""Tests of wsol_mm.models.losses.self_produced_guidance_loss."""

from wsol_mm.models.losses import SelfProducedGuidanceLoss, guidance_mask

import pytest
import torch
import torch.nn.functional as F


def test_masks():
    values = torch.full((3, 1, 8, 8), 0.4)
    values[0, 0, :5] = 0.9  # 40 positions: foreground
    values[0, 0, 7] = 0.05
    values[1, 0, 0, :3] = 0.9  # too few: above 0.7 * 0.9
    values[1, 0, 1] = 0.64
    values[1, 0, 2] = 0.62
    values[2] = 0.05  # foreground by the share, but background wins
    mask = guidance_mask(values, high=0.7, low=0.1)
    assert mask.dtype == torch.uint8
    assert (mask[0, 0, :5] == 1).all() and (mask[0, 0, 5:7] == 255).all() and (mask[0, 0, 7] == 0).all()
    assert (mask[1, 0, 0, :3] == 1).all() and (mask[1, 0, 1] == 1).all() and (mask[1, 0, 2:] == 255).all()
    assert (mask[2] == 0).all()


def reference(values: torch.Tensor, high: float, low: float, logits: torch.Tensor) -> torch.Tensor:
    """One term, image by image and position by position."""
    losses = []
    for image, one in zip(values.flatten(1), logits.flatten(1), strict=True):
        above = image > high
        above = above if above.sum() >= 30 else image > 0.7 * image.max()
        for value, fore, logit in zip(image, above, one, strict=True):
            target = 0.0 if value < low else 1.0 if fore else None
            if target is not None:
                losses.append(F.binary_cross_entropy_with_logits(logit, logit.new_tensor(target)))
    return torch.stack(losses).mean()


def test_terms():
    torch.manual_seed(0)
    maps = [torch.randn(2, 1, 5, 4, dtype=torch.float64).mul(3).requires_grad_() for _ in range(4)]
    loss = SelfProducedGuidanceLoss([(0.7, 0.3), (0.6, 0.35), (0.65, 0.4)])
    terms = loss(*maps, (10, 12))
    up = [F.interpolate(x, (10, 12), mode='bilinear', align_corners=False) for x in maps]
    class_map, b1, b2, c = up
    low, high = class_map.amin((2, 3), keepdim=True), class_map.amax((2, 3), keepdim=True)
    first, second = b1.detach().sigmoid(), b2.detach().sigmoid()
    expected = {
        'loss_b2': reference(((class_map - low) / (high - low)).detach(), 0.7, 0.3, b2),
        'loss_b1': reference(second, 0.6, 0.35, b1),
        'loss_c': reference((first + second) / 2, 0.65, 0.4, c),
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    found = torch.autograd.grad(sum(terms.values()), maps[1:])
    for ours, plain in zip(found, torch.autograd.grad(sum(expected.values()), maps[1:]), strict=True):
        torch.testing.assert_close(ours, plain)
    assert not maps[0].grad and not sum(loss(*maps, (10, 12)).values()).isnan()


def test_a_term_without_positions():
    logits = torch.zeros(1, 1, 2, 2, requires_grad=True)
    ignored = torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)
    value = SelfProducedGuidanceLoss().masked_bce(logits, ignored)
    value.backward()
    assert value == 0 and not logits.grad.any()
    assert SelfProducedGuidanceLoss(nan_if_empty=True).masked_bce(logits, ignored).isnan()


def test_half_precision_is_left():
    maps = [torch.randn(1, 1, 4, 4).bfloat16() for _ in range(4)]
    assert all(value.dtype == torch.float32 for value in SelfProducedGuidanceLoss()(*maps, (8, 8)).values())


def test_errors():
    with pytest.raises(
        ValueError, match=r'thresholds: expected three pairs \(high, low\), got \[\(0.7, 0.1\)\]'
    ):
        SelfProducedGuidanceLoss([(0.7, 0.1)])
