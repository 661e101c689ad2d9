"""Tests of wsol_mm.models.heads.cam_head."""

from wsol_mm.models.heads import CAMHead
from wsol_mm.structures import Features

import pytest
import torch
import torch.nn.functional as F

LABELS = torch.tensor([[0, 4], [3, 3]])


@pytest.fixture
def feats() -> Features:
    torch.manual_seed(0)
    return Features(torch.randn(2, 6, 3, 4, dtype=torch.float64))


def build(**options) -> CAMHead:
    head = CAMHead(num_classes=5, in_channels=6, **options).double()
    for parameter in head.parameters():
        parameter.data.normal_(std=0.5)
    return head


def wanted(maps: torch.Tensor) -> torch.Tensor:
    return torch.stack([one[chosen] for one, chosen in zip(maps, LABELS, strict=True)])


@pytest.mark.parametrize('hidden_channels', [(), (7,), (7, 8)])
def test_linear_classifier(feats, hidden_channels):
    head = build(hidden_channels=hidden_channels)
    x = feats.feature_map
    for conv in head.convs:
        x = F.conv2d(x, conv[0].weight, conv[0].bias, padding=1).relu()
    torch.testing.assert_close(head(feats), head.fc(x.mean(dim=(2, 3))))
    # The mean over the channels, without the bias.
    maps = (head.fc.weight[None, :, :, None, None] * x[:, None]).mean(dim=2)
    torch.testing.assert_close(head.localization_maps(feats, LABELS), wanted(maps))


def test_convolutional_classifier(feats):
    head = build(hidden_channels=(7,), classifier='conv')
    x = F.conv2d(feats.feature_map, head.convs[0][0].weight, head.convs[0][0].bias, padding=1).relu()
    maps = F.conv2d(x, head.semantic_conv.weight, head.semantic_conv.bias)
    assert head.semantic_conv.weight.shape == (5, 7, 1, 1)
    torch.testing.assert_close(head(feats), maps.mean(dim=(2, 3)))
    torch.testing.assert_close(head.localization_maps(feats, LABELS), wanted(maps))


def test_convolutions_run_once_for_a_prediction(feats):
    head = build(hidden_channels=(7,)).eval()
    runs = []
    head.convs[0].register_forward_hook(lambda *_: runs.append(1))
    samples = head.predict(feats)
    assert len(runs) == 1
    assert samples[0].loc_maps.shape == (5, 3, 4)


def test_dropout_stands_before_every_convolution_and_the_classifier(feats):
    head = build(hidden_channels=(7, 8), dropout=0.5).train()
    seen = []
    for module in (*(conv[0] for conv in head.convs), head.fc):
        module.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    torch.manual_seed(0)
    head(feats)
    assert [0.3 < (x == 0).double().mean() < 0.95 for x in seen[:2]] == [True, True]
    assert (seen[0][seen[0] != 0] == 2 * feats.feature_map[seen[0] != 0]).all()
    hidden = head.hidden(feats)
    assert (hidden == 0).double().mean() > 0.4
    assert isinstance(build().dropout, torch.nn.Identity)


def test_maps_are_computed_in_float32_at_least(feats):
    head = build().to(torch.bfloat16)
    maps = head.localization_maps(Features(feats.feature_map.bfloat16()), LABELS)
    assert maps.dtype == torch.float32


def test_initialisation():
    head = CAMHead(num_classes=5, in_channels=64, hidden_channels=(256,))
    head.init_weights()
    assert head.convs[0][0].weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)
    assert head.fc.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not head.fc.bias.any() and not head.convs[0][0].bias.any()
    head = CAMHead(5, 64, (256,), classifier='conv', conv_init='xavier')
    head.init_weights()
    bound = (6 / (64 * 9 + 256 * 9)) ** 0.5
    assert bound * 0.99 < head.convs[0][0].weight.abs().max() <= bound
    assert head.semantic_conv.weight.abs().max() <= (6 / (256 + 5)) ** 0.5


def test_errors():
    with pytest.raises(ValueError, match=r"classifier: expected one of \('linear', 'conv'\), got 'fc'"):
        CAMHead(5, 6, classifier='fc')
    with pytest.raises(ValueError, match='conv_init: expected one of'):
        CAMHead(5, 6, conv_init='normal')
