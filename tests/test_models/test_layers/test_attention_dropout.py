"""Tests of wsol_mm.models.layers.attention_dropout."""

from wsol_mm.models.layers import AttentionDropout
from wsol_mm.registry import MODELS

import pytest
import torch
from mmpretrain.structures import DataSample

X = torch.tensor([[[[4.0, 2.0], [1.0, 0.0]], [[0.0, 2.0], [1.0, 2.0]]]], dtype=torch.float64)
MEAN = torch.tensor([[[[2.0, 2.0], [1.0, 1.0]]]], dtype=torch.float64)


def test_drop_mask_hides_what_reaches_the_threshold():
    layer = AttentionDropout(drop_rate=1.0, threshold=0.5)
    torch.testing.assert_close(layer.attention(X), MEAN)
    assert layer(X).abs().sum() == 0  # 1 is half of 2, not below it
    layer.threshold = 0.6
    torch.testing.assert_close(layer(X), X * (MEAN == 1))


def test_importance_map_and_its_gradient():
    x = X.clone().requires_grad_()
    AttentionDropout(drop_rate=0.0)(x).sum().backward()
    sigmoid = MEAN.sigmoid()
    # Through the product, and through the mean of two channels.
    expected = sigmoid + X.sum(dim=1, keepdim=True) * sigmoid * (1 - sigmoid) / 2
    torch.testing.assert_close(x.grad, expected.expand_as(X))


def test_mask_has_no_gradient_and_negative_attention_hides_nothing():
    x = -X.clone().requires_grad_()
    out = AttentionDropout(drop_rate=1.0, threshold=0.9)(x - 1)
    torch.testing.assert_close(out, x - 1)


def test_one_draw_for_the_batch(monkeypatch):
    layer = AttentionDropout(drop_rate=0.75)
    for draw, drops in ((0.25, True), (0.2499, False), (0.99, True)):
        monkeypatch.setattr(layer, 'draw', lambda x, draw=draw: torch.tensor(draw, dtype=torch.float64))
        factor = (MEAN < 0.9 * 2).double() if drops else MEAN.sigmoid()
        torch.testing.assert_close(layer(X.repeat(3, 1, 1, 1)), (X * factor).repeat(3, 1, 1, 1))


def test_draws_follow_the_rate():
    torch.manual_seed(0)
    layer = AttentionDropout(drop_rate=0.75, threshold=0.6)
    dropped = [bool((layer(X)[..., 0, :] == 0).all()) for _ in range(400)]
    assert 0.68 < sum(dropped) / 400 < 0.82
    assert layer.draw(X).shape == ()


def test_identity_at_test_time():
    assert AttentionDropout().eval()(X) is X


@pytest.mark.parametrize('name', ['drop_rate', 'threshold'])
def test_errors(name):
    with pytest.raises(ValueError, match=f'{name}: expected a number from 0 to 1, got 1.5'):
        AttentionDropout(**{name: 1.5})


def test_in_a_model_it_draws_for_every_place(monkeypatch):
    draws = []
    monkeypatch.setattr(
        AttentionDropout, 'draw', lambda self, x: draws.append(x.shape[-1]) or torch.tensor(1.0)
    )
    insert = dict(type='AttentionDropout', after=('backbone.pool3', 'backbone.relu4_3', 'head.convs.0'))
    model = MODELS.build(
        dict(
            type='ImageLocalizer',
            backbone=dict(type='VGG16', base_channels=1),
            head=dict(type='CAMHead', num_classes=3, in_channels=8, hidden_channels=(4,)),
            inserts=[insert],
        )
    )
    images, samples = torch.randn(2, 3, 32, 32), [DataSample().set_gt_label(1)] * 2
    assert model.train()(images, samples, mode='loss')['loss'] > 0
    assert draws == [4, 4, 2]
    model.eval()(images, samples, mode='predict')
    assert len(draws) == 3
