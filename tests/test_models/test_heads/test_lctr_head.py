"""Tests of wsol_mm.models.heads.lctr_head."""

from wsol_mm.models.heads import LCTRHead
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample

VIT_ARCH = dict(embed_dims=24, num_layers=3, num_heads=2, feedforward_channels=48)
BACKBONE = dict(type='RelationalTransformer', arch=VIT_ARCH, img_size=32, patch_size=8)


@pytest.fixture
def head() -> LCTRHead:
    head = LCTRHead(num_classes=9, in_channels=24).double()
    for parameter in head.parameters():
        parameter.data.normal_(std=0.3)
    return head


@pytest.fixture
def feats() -> Features:
    attention = torch.randn(3, 4, 2, 1 + 20, dtype=torch.float64).softmax(dim=-1)
    return Features(
        torch.randn(3, 24, 4, 5, dtype=torch.float64),
        torch.randn(3, 24, dtype=torch.float64),
        attention.requires_grad_(),
        extras={'propagated': torch.rand(3, 4, 1 + 20, dtype=torch.float64)},
    )


def all_maps(head: LCTRHead, feats: Features) -> torch.Tensor:
    """Class maps before the ReLU, step by step."""
    seen = feats.class_attention.mean(dim=(1, 2))[:, 1:].reshape(3, 1, 4, 5)
    damped = feats.feature_map * (1 - seen)
    cues = F.conv2d(damped, head.cue_conv.weight, head.cue_conv.bias, padding=1)
    mean, largest = cues.mean(dim=(2, 3)), cues.amax(dim=(2, 3))
    routing = torch.sigmoid(head.cdm.route_mean(mean) + head.cdm.route_max(largest))
    kernels = torch.einsum('be,ecdij->bcdij', routing, head.cdm.weight)
    pairs = zip(feats.feature_map, kernels, strict=True)
    return torch.cat([F.conv2d(one[None], kernel, head.cdm.bias, padding=1) for one, kernel in pairs])


def test_formulas(head, feats):
    maps = all_maps(head, feats)
    expected = F.avg_pool2d(maps, 3, stride=1, padding=1).mean(dim=(2, 3))
    torch.testing.assert_close(head(feats), expected)
    propagated = feats.extras['propagated'].mean(dim=1)[:, 1:].reshape(3, 4, 5)
    torch.testing.assert_close(head.attention_map(feats), propagated)
    labels = torch.tensor([[0, 8], [3, 3], [5, 1]])
    wanted = torch.stack([one[chosen] for one, chosen in zip(maps, labels, strict=True)])
    assert wanted.min() < 0
    torch.testing.assert_close(head.localization_maps(feats, labels), propagated[:, None] * wanted.relu())


def test_gradients_flow_through_the_reverse_attention(head, feats):
    target = torch.randn(3, 9, dtype=torch.float64)
    expected = F.avg_pool2d(all_maps(head, feats), 3, stride=1, padding=1).mean(dim=(2, 3))
    gradients = [
        torch.autograd.grad((logits * target).sum(), feats.class_attention)
        for logits in (head(feats), expected)
    ]
    assert gradients[0][0].abs().max() > 1e-6
    torch.testing.assert_close(*gradients)


def test_prediction_computes_the_cues_once(head, feats, monkeypatch):
    expected = head(feats), head.localization_maps(feats, head(feats).topk(5).indices)
    calls = []
    original = LCTRHead.cues

    def count(self, feats):
        calls.append(feats)
        return original(self, feats)

    monkeypatch.setattr(LCTRHead, 'cues', count)
    with torch.no_grad():
        samples = head.predict(feats)
    assert len(calls) == 1
    for sample, logits, maps in zip(samples, *expected, strict=True):
        assert sample.loc_labels.tolist() == logits.topk(5).indices.tolist()
        torch.testing.assert_close(sample.pred_score.double(), logits.softmax(dim=0), atol=1e-6, rtol=0)
        torch.testing.assert_close(sample.loc_maps.double(), maps, atol=1e-6, rtol=1e-5)
    assert feats.__class__ is Features


@pytest.mark.parametrize('size', [(32, 32), (32, 64), (96, 48)])
def test_every_grid(size):
    model = MODELS.build(
        dict(
            type='ImageLocalizer',
            backbone=BACKBONE,
            head=dict(type='LCTRHead', num_classes=7, in_channels=24),
        )
    )
    images = torch.randn(2, 3, *size)
    samples = [DataSample().set_gt_label(label) for label in (6, 0)]
    model.train()
    model(images, samples, mode='loss')['loss'].backward()
    assert all(parameter.grad is not None for parameter in model.head.parameters())
    model.eval()
    with torch.no_grad():
        found = model(images, samples, mode='predict')
        full = model.extract_feat(images, {'full_attention'})
        feats = model.extract_feat(images, {'propagated'})
        logits = model.head(model.extract_feat(images))
    mean = full.extras['full_attention'].mean(dim=2)
    expected = (mean[:, :, :1] @ mean).squeeze(2) / mean.shape[-1]
    torch.testing.assert_close(feats.extras['propagated'], expected, atol=1e-7, rtol=1e-4)
    torch.testing.assert_close(model.head(feats), logits, atol=1e-5, rtol=1e-4)
    height, width = feats.grid
    for i, sample in enumerate(found):
        assert sample.loc_maps.shape == (6, height, width)
        assert sample.loc_maps.min() >= 0
        on_grid = expected[i].mean(dim=0)[1 : 1 + height * width].reshape(height, width)
        torch.testing.assert_close(sample.attn_map, on_grid, atol=1e-7, rtol=1e-4)


def test_autocast_and_double_precision(build_vit):
    model = MODELS.build(
        dict(
            type='ImageLocalizer',
            backbone=BACKBONE,
            head=dict(type='LCTRHead', num_classes=7, in_channels=24, kernel_init='default'),
        )
    ).eval()
    images, labels = torch.randn(2, 3, 32, 32), torch.tensor([[1], [4]])
    with torch.no_grad():
        feats = model.extract_feat(images, {'propagated'})
        expected = model.head.localization_maps(feats, labels)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            found = model.head.localization_maps(model.extract_feat(images, {'propagated'}), labels)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, atol=0.05 * expected.max().item(), rtol=0.05)
        twin = model.double()
        double = twin.head.localization_maps(twin.extract_feat(images.double(), {'propagated'}), labels)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), expected, atol=1e-6, rtol=1e-3)


def test_what_the_head_asks_for(feats, head):
    assert (head.loss_needs, head.predict_needs) == ({'class_attention'}, {'class_attention', 'propagated'})
    with pytest.raises(ValueError, match="features: expected 'class_attention'"):
        head(feats._replace(class_attention=None))
    with pytest.raises(ValueError, match="features: expected 'propagated'"):
        head.attention_map(feats._replace(extras={}))
    with pytest.raises(ValueError, match='num_kernels: expected an integer from 1, got 0'):
        LCTRHead(num_classes=3, in_channels=4, num_kernels=0)
    with pytest.raises(ValueError, match="kernel_init: expected one of .* got 'xavier'"):
        LCTRHead(num_classes=3, in_channels=4, kernel_init='xavier')


def test_initialisation_keeps_the_bound_of_the_reference():
    head = LCTRHead(num_classes=50, in_channels=16)
    head.init_weights()
    bound = (50 * 16 * 9) ** -0.5
    assert 0.95 * bound < head.cdm.weight.abs().max() <= bound
    assert head.cue_conv.weight.abs().max() <= (16 * 9) ** -0.5
