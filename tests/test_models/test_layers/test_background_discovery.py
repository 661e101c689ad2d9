"""Tests of wsol_mm.models.layers.background_discovery."""

from wsol_mm.models.layers import background_discovery

import torch
from torch.nn.functional import cosine_similarity


def inputs():
    generator = torch.Generator().manual_seed(0)
    attention = torch.randn(2, 3, 21, generator=generator).softmax(dim=2)[:, :, 1:]
    return attention, torch.randn(2, 20, 12, generator=generator)


def test_formulas():
    attention, keys = inputs()
    found = background_discovery(attention, keys)
    for image in range(2):
        mean = attention[image].mean()
        shares = [(attention[image, head] > mean).sum() / 20 + 1e-10 for head in range(3)]
        weights = torch.stack([torch.log(sum(shares) / share) for share in shares])
        torch.testing.assert_close(found.head_weights[image], weights)
        reference = int((weights[:, None] * attention[image]).sum(dim=0).argmin())
        assert found.reference[image] == reference
        weighted = (keys[image].reshape(20, 3, 4) * weights[None, :, None]).reshape(20, 12)
        expected = cosine_similarity(weighted, weighted[reference].expand(20, -1))
        torch.testing.assert_close(found.cosine[image], expected)


def test_without_weights():
    attention, keys = inputs()
    found = background_discovery(attention, keys, apply_weights=False)
    assert found.head_weights.eq(1).all()
    reference = attention.sum(dim=1).argmin(dim=1)
    assert torch.equal(found.reference, reference)
    expected = cosine_similarity(keys, keys[[0, 1], reference][:, None], dim=2)
    torch.testing.assert_close(found.cosine, expected)


def test_a_head_that_attends_to_nothing_dominates():
    attention = torch.full((1, 2, 4), 0.01)
    attention[0, 1] = torch.tensor([0.2, 0.3, 0.2, 0.05])
    weights = background_discovery(attention, torch.randn(1, 4, 4)).head_weights[0]
    assert 22 < weights[0] < 24 and weights[1] >= 0


def test_half_precision_is_computed_in_full():
    attention, keys = inputs()
    found = background_discovery(attention.half(), keys.half())
    assert found.cosine.dtype == torch.float32
