"""Maps of the class token's attention."""

from tests.test_models.conftest import randomize
from tests.trained_classifiers import FAMILIES
from wsol_mm.models.layers import rollout_map
from wsol_mm.registry import MODELS

import pytest
import torch
from mmpretrain.structures import DataSample


def build(**cam):
    classifier = MODELS.build(FAMILIES['own vit'].config)
    randomize(classifier.model, std=0.2)
    return MODELS.build(dict(type='ClassifierLocalizer', classifier=classifier, cam=cam)).eval()


@pytest.mark.parametrize('layers', ['last', 'sum', 'rollout'])
def test_class_attention(layers):
    model = build(type='ClassAttention', layers=layers)
    images = torch.randn(2, 3, 64, 64)
    samples = model.predict(images)
    with torch.no_grad():
        feats = model.backbone.model.backbone(images, {'class_attention', 'full_attention'})
    rows = feats.on_grid(feats.class_attention.mean(dim=2))
    expected = {'last': rows[:, -1], 'sum': rows.sum(dim=1), 'rollout': rollout_map(feats)}[layers]
    for sample, one in zip(samples, expected, strict=True):
        assert sample.loc_labels.tolist() == [-1]
        torch.testing.assert_close(sample.loc_maps[0], one)


def test_coupled_attention_is_attention_times_cam():
    model = build(type='CoupledAttention')
    images = torch.randn(2, 3, 64, 64)
    sample = model.predict(images, [DataSample().set_gt_label(4), DataSample()])[0]
    with torch.no_grad():
        feats = model.backbone.model.backbone(images, {'class_attention'})
        weights = model.backbone.model.head['semantic_conv'].weight[4]
    attention = feats.on_grid(feats.class_attention.mean(dim=2)).sum(dim=1)[0]
    cam = torch.einsum('d,dhw->hw', weights, feats.feature_map[0]).detach()
    torch.testing.assert_close(sample.loc_maps[0], attention * cam)
    torch.testing.assert_close(sample.attn_map, attention)


def test_layers_are_checked():
    with pytest.raises(
        ValueError, match=r"cam.layers: expected one of \('last', 'sum', 'rollout'\), got 'first'"
    ):
        build(type='ClassAttention', layers='first')
