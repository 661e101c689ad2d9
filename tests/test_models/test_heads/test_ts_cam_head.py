"""Tests of wsol_mm.models.heads: the base's prediction and TS-CAM's formulas."""

from wsol_mm.models.heads import LocalizationHead, TSCAMHead
from wsol_mm.structures import Features

import pytest
import torch
from mmpretrain.structures import DataSample
from torch import Tensor


@pytest.fixture
def feats() -> Features:
    attention = torch.randn(3, 4, 2, 1 + 20).softmax(dim=-1)
    return Features(
        torch.randn(3, 24, 4, 5), torch.randn(3, 24), attention, extras={'conv_map': torch.randn(3, 16, 2, 3)}
    )


@pytest.fixture
def head() -> TSCAMHead:
    return TSCAMHead(num_classes=9, in_channels=24)


def labelled(*labels: int | None) -> list[DataSample]:
    return [DataSample() if label is None else DataSample().set_gt_label(label) for label in labels]


def test_logits_are_the_mean_of_the_semantic_maps(head, feats):
    torch.testing.assert_close(head(feats), head.semantic_conv(feats.feature_map).mean(dim=(2, 3)))


def test_maps_are_attention_times_raw_semantic_map(head, feats):
    labels = torch.tensor([[0, 8], [3, 3], [5, 1]])
    attention = feats.class_attention.mean(dim=2).sum(dim=1)[:, 1:].reshape(3, 4, 5)
    semantic = head.semantic_conv(feats.feature_map)
    expected = torch.stack([attention[i] * semantic[i, labels[i]] for i in range(3)])
    assert expected.min() < 0, 'no ReLU before the product'
    torch.testing.assert_close(head.localization_maps(feats, labels), expected)
    torch.testing.assert_close(head.attention_map(feats), attention)


def test_hybrid_adds_the_convolutional_logits_to_the_logits_alone(feats):
    head = TSCAMHead(num_classes=9, in_channels=24, conv_channels=16, conv_init='kaiming')
    plain = head.semantic_conv(feats.feature_map).mean(dim=(2, 3))
    conv = head.conv_fc(feats.extras['conv_map'].mean(dim=(2, 3)))
    torch.testing.assert_close(head(feats), plain + conv)
    labels = torch.tensor([[4], [4], [4]])
    expected = head.attention_map(feats)[:, None] * head.semantic_conv(feats.feature_map)[:, 4:5]
    torch.testing.assert_close(head.localization_maps(feats, labels), expected)
    with pytest.raises(ValueError, match="features: expected 'conv_map'"):
        head(feats._replace(extras={}))


def test_loss_is_the_mean_cross_entropy(head, feats):
    losses = head.loss(feats, labelled(1, 0, 8))
    expected = torch.nn.functional.cross_entropy(head(feats), torch.tensor([1, 0, 8]))
    assert set(losses) == {'loss', 'accuracy_top-1'}
    torch.testing.assert_close(losses['loss'], expected)


@pytest.mark.parametrize(
    ('options', 'names'),
    [(dict(topk=(1, 5)), {'accuracy_top-1', 'accuracy_top-5'}), (dict(cal_acc=False), set())],
)
def test_accuracy_is_logged_unless_switched_off(feats, options, names):
    head = TSCAMHead(num_classes=9, in_channels=24, **options)
    assert set(head.loss(feats, labelled(1, 0, 8))) == {'loss', *names}


def test_prediction(head, feats):
    samples = head.predict(feats, labelled(7, None, 0))
    logits = head(feats)
    every = torch.arange(9).expand(3, -1)
    maps = head.localization_maps(feats, every)
    best = logits.topk(5).indices
    for i, (sample, truth) in enumerate(zip(samples, [[7], [], [0]], strict=True)):
        torch.testing.assert_close(sample.pred_score, logits[i].softmax(dim=0))
        assert sample.pred_topk.tolist() == best[i].tolist()
        assert sample.pred_label.tolist() == [best[i, 0]]
        assert sample.loc_labels.tolist() == truth + best[i].tolist()
        torch.testing.assert_close(sample.loc_maps, maps[i, sample.loc_labels])
        assert sample.loc_maps.dtype == torch.float32
        torch.testing.assert_close(sample.attn_map, head.attention_map(feats)[i])


def test_prediction_without_samples(head, feats):
    samples = head.predict(feats)
    assert [sample.loc_maps.shape for sample in samples] == [(5, 4, 5)] * 3


@pytest.mark.parametrize(('map_topk', 'classes', 'maps'), [(1, 9, 2), (0, 9, 1), (8, 9, 9), (5, 3, 4)])
def test_number_of_maps(feats, map_topk, classes, maps):
    head = TSCAMHead(num_classes=classes, in_channels=24, map_topk=map_topk)
    for sample in head.predict(feats, labelled(2, 1, 0)):
        assert sample.loc_maps.shape == (maps, 4, 5) and len(sample.loc_labels) == maps
        assert len(sample.pred_topk) == min(5, classes)


def test_maps_of_half_precision_features_are_float32(head, feats):
    expected = head.predict(feats)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = head.predict(feats)
    for ours, sample in zip(found, expected, strict=True):
        assert ours.loc_maps.dtype == ours.attn_map.dtype == ours.pred_score.dtype == torch.float32
        for label, loc_map in zip(ours.loc_labels.tolist(), ours.loc_maps, strict=True):
            if label in sample.loc_labels.tolist():
                torch.testing.assert_close(loc_map, sample.loc_maps[sample.loc_labels.tolist().index(label)])


def test_class_agnostic_head_gives_one_map(feats):
    class AttentionHead(LocalizationHead):
        class_agnostic = True

        def forward(self, feats: Features) -> Tensor:
            return feats.feature_map.mean(dim=(2, 3))[:, : self.num_classes]

        def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
            return feats.feature_map.mean(dim=1, keepdim=True)

    for i, sample in enumerate(AttentionHead(4, 24).predict(feats, labelled(1, 2, 3))):
        assert sample.loc_labels.tolist() == [-1]
        torch.testing.assert_close(sample.loc_maps, feats.feature_map[i].mean(dim=0, keepdim=True))
        assert 'attn_map' not in sample


@pytest.mark.parametrize('label', [9, -1])
def test_label_out_of_range_is_named(head, feats, label):
    with pytest.raises(ValueError, match=rf'gt_label: expected 0 to 8, got \[{label}\]'):
        head.predict(feats, labelled(1, label, 0))


def test_several_labels_are_refused(head, feats):
    samples = [DataSample().set_gt_label([1, 2]), *labelled(0, 0)]
    with pytest.raises(ValueError, match=r'gt_label: expected one class index, got \[1, 2\]'):
        head.predict(feats, samples)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(num_classes=0), 'num_classes: expected an integer from 1, got 0'),
        (dict(map_topk=-1), 'map_topk: expected an integer from 0, got -1'),
        (dict(conv_init='xavier'), "conv_init: expected one of .*got 'xavier'"),
    ],
)
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TSCAMHead(**{**dict(num_classes=9, in_channels=24), **kwargs})


def test_initialisation():
    default = TSCAMHead(200, 384)
    before = default.semantic_conv.weight.clone()
    default.init_weights()
    assert torch.equal(default.semantic_conv.weight, before), "PyTorch's own"
    assert default.semantic_conv.weight.abs().max() <= (9 * 384) ** -0.5
    hybrid = TSCAMHead(200, 384, conv_channels=1024, conv_init='kaiming')
    hybrid.init_weights()
    # docs/specifications/ts_cam.md, section 2.3: 0.0333 for 200 classes.
    assert abs(hybrid.semantic_conv.weight.std().item() - 0.0333) < 1e-4
    assert abs(hybrid.conv_fc.weight.std().item() - 0.02) < 2e-4
    assert not hybrid.conv_fc.bias.any() and hybrid.semantic_conv.bias.any()
