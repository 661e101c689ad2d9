"""Ten crops through a model: classes by their mean, maps of the centre crop."""

from wsol_mm.models.heads.localization_head import mean_scores
from wsol_mm.structures import CENTER_CROP

import pytest
import torch
from mmpretrain.structures import DataSample


def samples(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


@pytest.mark.parametrize('hybrid', [False, True])
def test_scores_are_means_and_maps_those_of_the_centre(build_localizer, hybrid):
    model = build_localizer(hybrid)
    crops = torch.randn(3, 10, 3, 32, 32)
    found = model(crops, samples(1, 2, 3), mode='predict')
    centre = model(crops[:, CENTER_CROP], samples(1, 2, 3), mode='predict')
    scores = model(crops.flatten(0, 1)).softmax(dim=1).unflatten(0, (3, 10)).mean(dim=1)
    for i, sample in enumerate(found):
        torch.testing.assert_close(sample.pred_score, scores[i])
        assert sample.pred_topk.tolist() == scores[i].topk(5).indices.tolist()
        assert sample.pred_label.tolist() == sample.pred_topk[:1].tolist()
        # maps of the classes that the ten crops rank first, made of the centre crop
        assert sample.loc_labels.tolist() == [i + 1, *sample.pred_topk.tolist()]
        torch.testing.assert_close(sample.loc_maps[0], centre[i].loc_maps[0])
        torch.testing.assert_close(sample.attn_map, centre[i].attn_map)
        for label, loc_map in zip(centre[i].loc_labels, centre[i].loc_maps, strict=True):
            same = (sample.loc_labels == label).nonzero().flatten()
            torch.testing.assert_close(sample.loc_maps[same], loc_map.expand(len(same), -1, -1))


def test_mean_scores():
    logits = torch.log(torch.tensor([[[1.0, 3.0], [3.0, 1.0], [1.0, 7.0]]]))
    expected = torch.tensor([[(1 / 4 + 3 / 4 + 1 / 8) / 3, (3 / 4 + 1 / 4 + 7 / 8) / 3]])
    torch.testing.assert_close(mean_scores(logits), expected)
    assert mean_scores(logits.bfloat16()).dtype == torch.float32


def test_the_mean_can_overrule_the_centre_crop(build_localizer):
    head = build_localizer(num_classes=3).head
    head.forward = lambda feats: torch.tensor([[0.0, 5.0, 0.0]])
    head.localization_maps = lambda feats, labels: labels[..., None, None].float()
    head.attention_map = lambda feats: None
    other = torch.tensor([0.0, 0.0, 5.0]).expand(1, 9, 3)
    alone = head.predict(None)[0]
    assert alone.pred_label.tolist() == [1]
    found = head.predict(None, samples(0), other_crops=other)[0]
    assert found.pred_label.tolist() == [2] and found.pred_topk.tolist() == [2, 1, 0]
    assert found.loc_labels.tolist() == [0, 2, 1, 0]
    assert found.loc_maps.flatten().tolist() == [0, 2, 1, 0]


@pytest.mark.parametrize(
    ('head', 'centre', 'others'),
    [
        (dict(type='TSCAMHead'), {'class_attention'}, set()),
        (dict(type='SCMHead'), {'class_attention'}, set()),
        (dict(type='SCMHead', calibrate_test_logits=True), {'class_attention'}, {'class_attention'}),
        (dict(type='LCTRHead'), {'class_attention', 'propagated'}, {'class_attention'}),
    ],
    ids=['ts-cam', 'scm', 'scm calibrated', 'lctr'],
)
def test_every_crop_passes_once_with_what_it_needs(build_localizer, monkeypatch, head, centre, others):
    kind = 'RelationalTransformer' if head['type'] == 'LCTRHead' else 'TokenVisionTransformer'
    model = build_localizer(head=head, backbone=dict(type=kind))
    calls = []
    original = type(model.backbone).forward

    def record(self, x, needs):
        calls.append((len(x), needs))
        return original(self, x, needs)

    monkeypatch.setattr(type(model.backbone), 'forward', record)
    model(torch.randn(2, 10, 3, 32, 32), mode='predict')
    assert sorted(calls, key=lambda call: call[0]) == [(2, centre), (18, others)]


def test_colours_and_order_through_the_test_step(build_localizer):
    settings = dict(mean=[120.0, 110.0, 100.0], std=[50.0, 60.0, 70.0], to_rgb=True)
    model = build_localizer(data_preprocessor=settings)
    crops = torch.randint(0, 256, (1, 10, 3, 32, 32), dtype=torch.uint8)
    found = model.test_step(dict(inputs=crops, data_samples=samples(2)))[0]
    mean, std = (torch.tensor(settings[key]).view(3, 1, 1) for key in ('mean', 'std'))
    logits = model((crops[0].flip(1).float() - mean) / std)
    torch.testing.assert_close(found.pred_score, logits.softmax(dim=1).mean(dim=0))


def test_refusals(build_localizer):
    model = build_localizer()
    with pytest.raises(
        ValueError, match=r'inputs: expected .*10 crops .*, got the shape \(2, 5, 3, 32, 32\)'
    ):
        model(torch.randn(2, 5, 3, 32, 32), mode='predict')
    for mode in ('loss', 'tensor'):
        with pytest.raises(
            ValueError, match=r'inputs: expected images .*, got the shape \(2, 10, 3, 32, 32\)'
        ):
            model(torch.randn(2, 10, 3, 32, 32), samples(0, 1), mode=mode)
    swapped = build_localizer(data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', to_rgb=True))
    with pytest.raises(ValueError, match='data_preprocessor: expected .*, got ClsDataPreprocessor'):
        swapped(torch.randn(1, 10, 3, 32, 32), mode='predict')
