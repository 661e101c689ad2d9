"""Tests of wsol_mm.models.heads.catr_head."""

from wsol_mm.models.heads import CATRHead
from wsol_mm.structures import Features

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample

LAYERS, HEADS, CLASSES = 4, 2, 5


def build(**kwargs) -> CATRHead:
    torch.manual_seed(0)
    options = dict(num_layers=LAYERS, num_heads=HEADS, ocm=dict(num_layers=3)) | kwargs
    head = CATRHead(CLASSES, in_channels=8, **options).double()
    for parameter in head.parameters():
        parameter.data.normal_(std=0.5)
    return head


@pytest.fixture
def feats() -> Features:
    torch.manual_seed(1)
    attention = torch.randn(3, LAYERS, HEADS, 1 + 24, dtype=torch.float64).softmax(dim=-1)
    return Features(
        torch.randn(3, 8, 4, 6, dtype=torch.float64),
        torch.randn(3, 8, dtype=torch.float64),
        attention.requires_grad_(),
    )


def samples() -> list[DataSample]:
    return [DataSample().set_gt_label(label) for label in (4, 0, 2)]


def pieces(head: CATRHead, feats: Features) -> dict[str, torch.Tensor]:
    """Maps of the head, step by step."""
    rows = feats.class_attention[..., 1:].reshape(3, LAYERS, HEADS, 4, 6)
    decoded = head.csm(torch.cat([rows[:, layer] for layer in range(LAYERS)], dim=1))
    return {
        'rows': rows,
        'attention': rows.mean(dim=1).sum(dim=1),
        'head': F.conv2d(feats.feature_map, head.semantic_conv.weight, head.semantic_conv.bias, padding=1),
        'csm': F.conv2d(decoded, head.csm.classifier.weight),
    }


def test_maps_and_logits(feats):
    head = build().eval()
    found = pieces(head, feats)
    torch.testing.assert_close(head(feats), found['head'].mean(dim=(2, 3)))
    torch.testing.assert_close(head.attention_map(feats), found['attention'])
    labels = torch.tensor([[0, 4], [3, 3], [2, 1]])
    both = found['head'] + found['csm']
    wanted = torch.stack([one[chosen] for one, chosen in zip(both, labels, strict=True)])
    expected = found['attention'][:, None] * wanted
    torch.testing.assert_close(head.localization_maps(feats, labels), expected)
    without = build(csm=None).eval()
    maps = F.conv2d(feats.feature_map, without.semantic_conv.weight, without.semantic_conv.bias, padding=1)
    wanted = torch.stack([one[chosen] for one, chosen in zip(maps, labels, strict=True)])
    expected = found['attention'][:, None] * wanted
    torch.testing.assert_close(without.localization_maps(feats, labels), expected)


def test_losses(feats):
    head = build().train()
    head.loss_weighting.params.data = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    found, labels = pieces(head, feats), torch.tensor([4, 0, 2])
    foreground = head.ocm(found['rows'][:, :3].flatten(1, 2))
    attention = found['attention']
    lowest = attention.flatten(1).sort(dim=1).values[:, : 6 + 1]
    expected = {
        'cls': F.cross_entropy(found['head'].mean(dim=(2, 3)), labels),
        'csm': F.cross_entropy(found['csm'].mean(dim=(2, 3)), labels),
        'area': lowest.sum() / 24,
        'map': (foreground[None] - attention[:, None]).square().mean(),
    }
    losses = head.loss(feats, samples())
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, msg=lambda text, name=name: f'{name}: {text}')
    squares = [1, 4, 0.25, 9]
    for (name, value), square in zip(expected.items(), squares, strict=True):
        weighted = 0.5 / square * value + torch.tensor(1.0 + square, dtype=torch.float64).log()
        torch.testing.assert_close(losses[f'loss_{name}'], weighted)
    assert {name for name in losses if 'loss' in name} == {'loss_cls', 'loss_csm', 'loss_area', 'loss_map'}
    assert 'accuracy_top-1' in losses


@pytest.mark.parametrize(
    ('options', 'names'),
    [
        (dict(csm=None), ['cls', 'area', 'map']),
        (dict(ocm=None), ['cls', 'csm']),
        (dict(ocm=dict(num_layers=3, area_loss=None)), ['cls', 'csm', 'map']),
        (dict(ocm=dict(num_layers=3, map_loss=None)), ['cls', 'csm', 'area']),
        (dict(csm=None, ocm=None), ['cls']),
    ],
)
def test_parts_can_be_left_out(feats, options, names):
    head = build(**options).train()
    assert head.weighted_losses == names
    assert len(head.loss_weighting.params) == len(names)
    losses = head.loss(feats, samples())
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, f'{name} is not used'


def test_plain_sum_of_the_losses(feats):
    head = build(loss_weighting=False).train()
    losses = head.loss(feats, samples())
    for name in ('csm', 'area', 'map'):
        assert losses[f'loss_{name}'] is losses[name]
    assert not [name for name, _ in head.named_parameters() if 'weighting' in name]


def test_gradient_of_the_attention_is_not_stopped(feats):
    for name in ('csm', 'area', 'map'):
        head = build().train()
        loss = head.raw_losses(feats, samples())[name]
        gradient = torch.autograd.grad(loss, feats.class_attention)[0]
        assert gradient[..., 1:].abs().sum() > 0, name
        assert (gradient[..., 0] == 0).all(), 'the class token itself'


def test_errors(feats):
    with pytest.raises(ValueError, match='ocm.num_layers: expected an integer from 1 to 4, got 9'):
        build(ocm=dict(num_layers=9))
    with pytest.raises(
        ValueError, match='expected num_layers=12 with num_heads=6, .* got 4 layers with 2 heads'
    ):
        CATRHead(CLASSES, in_channels=8).double().loss(feats, samples())
    with pytest.raises(ValueError, match="Ask the backbone for needs={'class_attention'}"):
        build().loss(feats._replace(class_attention=None), samples())
