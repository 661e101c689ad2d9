"""Tests of wsol_mm.models.heads.spg_head."""

from wsol_mm.models.heads import CAMHead, SPGHead
from wsol_mm.models.localizers import ImageLocalizer
from wsol_mm.structures import Features

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample

SAMPLES = [DataSample().set_gt_label(label) for label in (1, 4)]


def build(**options) -> SPGHead:
    torch.manual_seed(0)
    options = dict(hidden_channels=(7,), b_channels=9, c_channels=10) | options
    head = SPGHead(num_classes=5, in_channels=6, stage_channels=(3, 4), **options).double()
    for parameter in head.parameters():
        parameter.data.normal_(std=0.5)
    return head


@pytest.fixture
def feats() -> Features:
    torch.manual_seed(1)
    random = lambda *shape: torch.randn(shape, dtype=torch.float64)  # noqa: E731
    return Features(
        random(2, 6, 4, 4),
        stages=(random(2, 3, 8, 8), random(2, 4, 4, 4)),
        extras={'images': random(2, 3, 24, 32)},
    )


def test_branches(feats):
    head = build()

    def conv(x, module):
        return F.conv2d(x, module.weight, module.bias, padding=module.kernel_size[0] // 2)

    hidden = conv(feats.feature_map, head.convs[0][0]).relu()
    shared = lambda x: conv(conv(x, head.b_shared[0]).relu(), head.b_shared[2])  # noqa: E731
    expected = (
        shared(conv(feats.stages[0], head.b1[0]).relu()),
        shared(conv(feats.stages[1], head.b2[0]).relu()),
        conv(conv(hidden, head.c[0]).relu(), head.c[2]),
    )
    for found, plain in zip(head.branches(feats), expected, strict=True):
        torch.testing.assert_close(found, plain)
    assert [tuple(logits.shape) for logits in expected] == [(2, 1, 8, 8), (2, 1, 4, 4), (2, 1, 4, 4)]


@pytest.mark.parametrize(('guidance_size', 'size'), [(None, (24, 32)), (16, (16, 16))])
def test_losses(feats, guidance_size, size):
    thresholds = [(0.6, 0.3), (0.5, 0.4), (0.55, 0.35)]
    head = build(guidance=dict(thresholds=thresholds), guidance_size=guidance_size)
    losses = head.loss(feats, SAMPLES)
    maps = F.conv2d(head.hidden(feats), head.semantic_conv.weight, head.semantic_conv.bias)
    class_map = torch.stack([maps[0, 1], maps[1, 4]])[:, None]
    expected = head.guidance(class_map, *head.branches(feats), size)
    expected['loss_cls'] = F.cross_entropy(maps.mean(dim=(2, 3)), torch.tensor([1, 4]))
    assert set(losses) == {*expected, 'accuracy_top-1'}
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)


def test_maps_guide_without_a_gradient(feats):
    head = build()
    losses = head.loss(feats, SAMPLES)
    sum(losses[name] for name in ('loss_b1', 'loss_b2')).backward()
    assert head.b1[0].weight.grad.any() and head.b_shared[2].bias.grad.any()
    assert all(parameter.grad is None for parameter in head.convs.parameters())
    assert head.semantic_conv.weight.grad is None


def test_at_test_time_it_is_a_convolutional_cam_head(feats):
    head = build().eval()
    runs = []
    for module in (head.b1, head.b2, head.c):
        module.register_forward_hook(lambda *_: runs.append(1))
    found = head.predict(Features(feats.feature_map), SAMPLES)
    assert not runs
    plain = CAMHead(5, 6, (7,), classifier='conv').double()
    plain.load_state_dict(head.state_dict(), strict=False)
    expected = plain.predict(Features(feats.feature_map), SAMPLES)
    torch.testing.assert_close(found[0].loc_maps, expected[0].loc_maps)


def test_needs():
    assert build().loss_needs == {'stages', 'images'}
    assert build(guidance_size=224).loss_needs == {'stages'}
    assert build().predict_needs == build().logits_needs == frozenset()


def test_stages_are_recorded_in_training_alone():
    backbone = dict(type='VGG16', base_channels=1)
    head = dict(type='SPGHead', num_classes=5, in_channels=8, stage_channels=(8, 8), hidden_channels=())
    model = ImageLocalizer(backbone, head, stages=('pool4', 'pool5'))
    images = torch.randn(2, 3, 32, 32)
    assert {'loss_cls', 'loss_b1', 'loss_b2', 'loss_c'} < set(model(images, SAMPLES, mode='loss'))
    assert model.extract_feat(images).stages == ()
    with pytest.raises(ValueError, match=r'stages: expected names of modules of VGG16, which SPGHead needs'):
        ImageLocalizer(backbone, head)
    with pytest.raises(ValueError, match='stages: expected two, got 1'):
        ImageLocalizer(backbone, head, stages=('pool4',))(images, SAMPLES, mode='loss')


def test_errors():
    with pytest.raises(ValueError, match='stage_channels: expected two numbers'):
        SPGHead(5, 6, stage_channels=(3,))
