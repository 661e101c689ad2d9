"""Tests of wsol_mm.models.heads.psol_head."""

from tests.methods import Size, vit_config
from wsol_mm.models.heads import PSOLHead
from wsol_mm.models.heads.psol_head import generalized_iou
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import pytest
import torch
from mmpretrain.structures import DataSample
from torch.nn.functional import cross_entropy
from torchvision.ops import generalized_box_iou_loss

BOXES = torch.tensor([[0.1, 0.2, 0.5, 0.6], [0.3, 0.3, 0.9, 1.0]])


def feats() -> Features:
    generator = torch.Generator().manual_seed(0)
    return Features(torch.randn(2, 6, 4, 5, generator=generator), torch.randn(2, 6, generator=generator))


def make_head(**options) -> PSOLHead:
    torch.manual_seed(0)
    head = PSOLHead(3, 6, **options).eval()
    torch.nn.init.normal_(head.regressor[-1].weight, std=0.1)  # zeros see nothing
    return head


def samples(weights=(1.0, 1.0)) -> list[DataSample]:
    made = [DataSample().set_gt_label(label) for label in (1, 2)]
    for sample, box, weight in zip(made, BOXES, weights, strict=True):
        sample.pseudo_box, sample.pseudo_box_weight = box, torch.tensor([weight])
    return made


def say(head: PSOLHead, *numbers: float) -> None:
    """Let the regression give centre, width and height, whatever it sees."""
    with torch.no_grad():
        head.regressor[-1].weight.zero_()
        head.regressor[-1].bias.copy_(torch.logit(torch.tensor(numbers)))


def test_the_box_is_regressed_from_tokens_and_their_places():
    head = make_head()
    x, y, width, height = head.regressor(feats().feature_map).sigmoid().unbind(1)
    sides = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=1)
    torch.testing.assert_close(head.boxes(feats()), sides)
    torch.testing.assert_close(head(feats()), head.classifier(feats().cls_token))
    mirrored = Features(feats().feature_map.flip(3), feats().cls_token)
    assert not torch.allclose(head.boxes(mirrored), head.boxes(feats()))
    assert make_head().boxes(Features(torch.zeros(1, 6, 14, 14), torch.zeros(1, 6))).shape == (1, 4)


def test_training_begins_in_the_middle():
    middle = torch.tensor([[0.25, 0.25, 0.75, 0.75]])
    torch.testing.assert_close(PSOLHead(3, 6).boxes(feats()), middle.expand(2, 4))


def test_losses():
    head = make_head(box_loss_weight=2.0)
    say(head, 0.3, 0.4, 0.4, 0.4)  # is the first box
    torch.testing.assert_close(head.boxes(feats()), BOXES[:1].expand(2, 4))
    losses = head.loss(feats(), samples())
    torch.testing.assert_close(losses['loss_cls'], cross_entropy(head(feats()), torch.tensor([1, 2])))
    # Of the second: common 0.2 x 0.3, union 0.16 + 0.42 - 0.06, hull 0.8 x 0.8.
    union = 0.52
    second = 1 - (0.06 / union - (0.64 - union) / 0.64)
    distance = (0.2 + 0.1 + 0.4 + 0.4) / 4
    assert losses['loss_box'].item() == pytest.approx(2 * (second + 5 * distance) / 2, abs=1e-5)
    assert losses['pseudo_iou'].item() == pytest.approx((1 + 0.06 / union) / 2, abs=1e-5)
    assert 'loss' not in losses


def test_a_side_outside_of_the_image_comes_back():
    head = make_head()
    say(head, 0.1, 0.4, 0.6, 0.4)
    head.loss(feats(), samples())['loss_box'].backward()
    x0 = head.boxes(feats())[0, 0]
    assert x0 < 0
    (gradient,) = torch.autograd.grad(x0, head.regressor[-1].bias)
    assert (head.regressor[-1].bias.grad * gradient).sum() < 0  # a step against the gradient moves it right
    (sample, _) = head.predict(feats(), samples())
    assert sample.loc_maps[0, :, 0].any()


def test_boxes_count_by_their_weight_and_may_all_be_missing():
    head = make_head()
    say(head, 0.3, 0.4, 0.4, 0.4)
    assert head.loss(feats(), samples((0.5, 0.0)))['loss_box'].item() == pytest.approx(0, abs=1e-6)
    only = head.loss(feats(), samples((0.0, 0.25)))['loss_box']
    torch.testing.assert_close(only, head.loss(feats(), samples((0.0, 1.0)))['loss_box'])
    none = make_head().loss(feats(), samples((0.0, 0.0)))
    assert none['loss_box'] == 0 and none['loss_cls'] > 0
    (none['loss_cls'] + none['loss_box']).backward()


def test_the_map_is_the_box():
    head = make_head(map_size=20)
    say(head, 0.3, 0.4, 0.4, 0.4)
    (sample, _) = head.predict(feats(), samples())
    expected = torch.zeros(1, 20, 20)
    expected[0, 4:12, 2:10] = 1
    torch.testing.assert_close(sample.loc_maps, expected)
    assert sample.loc_labels.tolist() == [-1] and 'attn_map' not in sample


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(map_size=1), 'map_size: expected an integer from 2, got 1'),
        (dict(hidden_channels=0), 'hidden_channels: expected an integer from 1, got 0'),
        (dict(box_loss_weight=0), 'box_loss_weight: expected a positive number, got 0'),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_head(**arguments)


def test_without_pseudo_boxes():
    with pytest.raises(ValueError, match="expected 'pseudo_box', as PSOLHead learns it, got .*LoadPseudoBox"):
        make_head().loss(feats(), [DataSample().set_gt_label(0)] * 2)


def build(**options):
    torch.manual_seed(0)
    backbone = vit_config('TokenVisionTransformer', Size())
    return MODELS.build(
        dict(type='ImageLocalizer', backbone=backbone, head=dict(type='PSOLHead', num_classes=7), **options)
    )


def test_it_learns_the_boxes_of_two_images():
    model, images = build().train(), torch.randn(2, 3, 32, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    for _ in range(120):
        losses = model(images, samples(), mode='loss')
        optimizer.zero_grad()
        (losses['loss_cls'] + losses['loss_box']).backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert losses['pseudo_iou'] > 0.85
    found = model.eval()(images, mode='predict')
    assert [sample.pred_label.item() for sample in found] == [1, 2]
    half = model.bfloat16()(images.bfloat16(), mode='predict')
    for one, other in zip(found, half, strict=True):
        assert other.loc_maps.dtype == torch.float32
        assert (one.loc_maps != other.loc_maps).float().mean() < 0.05


def test_boxes_of_mirrored_views_are_mirrored_back():
    model, plain = build(refinement=dict(flip=True)).eval(), build().eval()
    images = torch.randn(2, 3, 32, 32)
    both = [one.loc_maps for one in model(images, mode='predict')]
    seen = [one.loc_maps for one in plain(images, mode='predict')]
    mirrored = [one.loc_maps.flip(2) for one in plain(images.flip(3), mode='predict')]
    for found, one, other in zip(both, seen, mirrored, strict=True):
        torch.testing.assert_close(found, (one + other) / 2)


def test_generalized_iou_is_that_of_torchvision():
    corners = torch.rand(40, 2, 2, dtype=torch.float64).sort(dim=1).values.flatten(1)
    boxes, targets = corners[:20].requires_grad_(), corners[20:]
    with torch.no_grad():
        targets[0], targets[1], boxes[2] = boxes[0], 0, targets[2].mean()  # equal; no target; no area
    found, expected = 1 - generalized_iou(boxes, targets), generalized_box_iou_loss(boxes, targets)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    slopes = [torch.autograd.grad(values.sum(), boxes)[0][3:] for values in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-9)
