"""Tests of SCM's head: what is calibrated when, on every backbone."""

from wsol_mm.models.heads import SCMHead
from wsol_mm.models.weights import load_pretrained
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

import pytest
import torch
from mmpretrain.structures import DataSample


@pytest.fixture
def feats() -> Features:
    attention = torch.randn(3, 4, 2, 1 + 20).softmax(dim=-1).requires_grad_()
    return Features(
        torch.randn(3, 24, 4, 5, requires_grad=True),
        torch.randn(3, 24),
        attention,
        extras={'conv_map': torch.randn(3, 16, 2, 3)},
    )


@pytest.fixture
def head() -> SCMHead:
    return SCMHead(num_classes=9, in_channels=24)


def labelled(*labels: int) -> list[DataSample]:
    return [DataSample().set_gt_label(label) for label in labels]


def scaled_attention(feats):
    attention = feats.class_attention.mean(dim=2).sum(dim=1)[:, 1:]
    attention = attention - attention.amin(dim=1, keepdim=True)
    return (attention / attention.amax(dim=1, keepdim=True)).reshape(3, 4, 5)


def calibrated(head, feats):
    maps, _ = head.calibration(head.semantic_conv(feats.feature_map), scaled_attention(feats))
    return maps.mean(dim=(2, 3))


def test_training_logits_are_calibrated_and_test_logits_are_not(head, feats):
    plain = head.semantic_conv(feats.feature_map).mean(dim=(2, 3))
    torch.testing.assert_close(head(feats), plain)
    torch.testing.assert_close(head.calibrated_logits(feats), calibrated(head, feats))
    expected = torch.nn.functional.cross_entropy(calibrated(head, feats), torch.tensor([1, 0, 8]))
    losses = head.loss(feats, labelled(1, 0, 8))
    assert set(losses) == {'loss', 'accuracy_top-1'}
    torch.testing.assert_close(losses['loss'], expected)


def test_gradients_reach_maps_attention_and_scalars(head, feats):
    head.loss(feats, labelled(1, 0, 8))['loss'].backward()
    for tensor in (feats.feature_map, feats.class_attention, *head.parameters()):
        assert tensor.grad is not None and tensor.grad.any()


def test_maps_are_scaled_attention_times_semantic_map(head, feats):
    labels = torch.tensor([[0, 8], [3, 3], [5, 1]])
    semantic = head.semantic_conv(feats.feature_map)
    attention = scaled_attention(feats)
    expected = torch.stack([attention[i] * semantic[i, labels[i]] for i in range(3)])
    torch.testing.assert_close(head.localization_maps(feats, labels), expected)
    torch.testing.assert_close(head.attention_map(feats), attention)


def test_calibration_is_not_run_at_test_time(head, feats):
    head.calibration.register_forward_hook(lambda *_: pytest.fail('calibrated'))
    head.calibration.gate = lambda *_: pytest.fail('calibrated')
    samples = head.predict(feats, labelled(1, 2, 3))
    assert samples[0].loc_maps.shape == (6, 4, 5)


@pytest.mark.parametrize('keep', [None, True, False])
def test_hybrid_keeps_the_calibration_at_test_time(feats, keep):
    head = SCMHead(9, 24, conv_channels=16, conv_init='kaiming', calibrate_test_logits=keep)
    assert [layer.iterations for layer in head.calibration.layers] == [4] * 4
    conv = head.conv_fc(feats.extras['conv_map'].mean(dim=(2, 3)))
    torch.testing.assert_close(head.calibrated_logits(feats), calibrated(head, feats) + conv)
    plain = head.semantic_conv(feats.feature_map).mean(dim=(2, 3))
    torch.testing.assert_close(head(feats), (plain if keep is False else calibrated(head, feats)) + conv)
    torch.testing.assert_close(head.attention_map(feats), scaled_attention(feats))


def test_iterations_of_a_transformer(head):
    assert [layer.iterations for layer in head.calibration.layers] == [16, 4, 4, 4]
    own = SCMHead(9, 24, iterations=[2, 5])
    assert [layer.iterations for layer in own.calibration.layers] == [2, 5]


def test_accuracy_is_that_of_the_calibrated_logits(feats):
    head = SCMHead(9, 24)
    best = head.calibrated_logits(feats).argmax(dim=1).tolist()
    accuracy = head.loss(feats, labelled(*best))['accuracy_top-1']
    assert [float(value) for value in accuracy] == [100]


def test_mixed_precision(head, feats):
    expected = head.calibrated_logits(feats)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = head.calibrated_logits(feats)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


def test_constant_attention(feats):
    constant = feats._replace(class_attention=torch.full((3, 4, 2, 21), 1 / 21))
    assert SCMHead(9, 24).attention_map(constant).isnan().all()
    head = SCMHead(9, 24, eps=1e-6)
    assert not head.attention_map(constant).any() and head.calibrated_logits(constant).isfinite().all()


@pytest.mark.parametrize(
    'backbone',
    [
        dict(arch='deit-tiny', img_size=96),
        dict(arch='vit-tiny', img_size=(64, 80)),
        dict(
            arch=dict(embed_dims=24, num_layers=2, num_heads=4, feedforward_channels=48),
            img_size=56,
            patch_size=8,
        ),
        dict(
            arch=dict(embed_dims=32, num_layers=5, num_heads=1, feedforward_channels=48),
            img_size=96,
            patch_size=4,
            qk_scale=32**-0.5,
        ),
    ],
    ids=['deit', 'vit-7x9', 'patch8', '24x24'],
)
def test_any_vit_backbone(backbone):
    backbone = MODELS.build(dict(type='TokenVisionTransformer', **backbone))
    head = dict(type='SCMHead', num_classes=5, in_channels=backbone.embed_dims)
    model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head))
    rows, columns = backbone.patch_resolution
    patch = backbone.patch_embed.projection.kernel_size[0]
    images = torch.randn(2, 3, rows * patch, columns * patch)
    model.train()
    model(images, labelled(1, 2), mode='loss')['loss'].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.eval()
    with torch.no_grad():
        samples = model(images, labelled(1, 2), mode='predict')
    assert samples[0].loc_maps.shape == (6, rows, columns) and samples[0].loc_maps.isfinite().all()


def test_bias_of_an_imagenet_classifier_survives(build_localizer, tmp_path):
    """docs/specifications/scm.md, section 2.5: the head is left out only as far as its shapes differ."""
    source = build_localizer(num_classes=1000)
    state = source.state_dict()
    state['head.fc.weight'], state['head.fc.bias'] = torch.randn(1000, 24), torch.randn(1000)
    del state['head.semantic_conv.weight'], state['head.semantic_conv.bias']
    torch.save(dict(state_dict=state), tmp_path / 'deit.pth')
    model = build_localizer(num_classes=1000, head=dict(type='SCMHead'))
    before = model.head.semantic_conv.weight.clone()
    report = load_pretrained(model, tmp_path / 'deit.pth')
    assert torch.equal(model.head.semantic_conv.bias, state['head.fc.bias'])
    assert torch.equal(model.head.semantic_conv.weight, before)
    scalars = [name for name in report.fresh if name.startswith('head.calibration.')]
    assert len(scalars) == 8
