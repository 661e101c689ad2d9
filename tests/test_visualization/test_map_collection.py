"""The maps behind a prediction are those that the heads compute."""

import wsol_mm  # noqa: F401
from tests.methods import METHODS, Size
from wsol_mm.models.heads import LocalizationHead
from wsol_mm.registry import MODELS
from wsol_mm.visualization import predict_with_maps

import pytest
import torch
from mmpretrain.structures import DataSample

SIZE = Size(width=16, num_classes=3)
HEADS = {name: MODELS.get(f'wsol_mm.{method.head}') for name, method in METHODS.items()}
#: Those whose maps are an attention map times one of the class.
COUPLED = [name for name, head in HEADS.items() if head.semantic_maps is not LocalizationHead.semantic_maps]


def build(method):
    torch.manual_seed(0)
    preprocessor = dict(mean=[127.5] * 3, std=[127.5] * 3)
    return MODELS.build(METHODS[method].model_config(SIZE, data_preprocessor=preprocessor)).eval()


def batch(*shape, labels):
    inputs = [torch.randint(0, 255, shape, dtype=torch.uint8) for _ in labels]
    samples = [DataSample() if label is None else DataSample().set_gt_label(label) for label in labels]
    return dict(inputs=inputs, data_samples=samples)


@pytest.mark.parametrize('method', COUPLED)
@pytest.mark.parametrize('labels', [(2, 0), (None, None)])
def test_coupled_map_is_attention_times_semantic_map(method, labels):
    model = build(method)
    more_layers = model.backbone.layer_map_titles.values()
    samples, maps = predict_with_maps(model, batch(3, 32, 40, labels=labels))
    for sample, label in zip(samples, labels, strict=True):
        assert sample.loc_labels[0] == (sample.pred_label if label is None else label)
    for sample, found in zip(samples, maps, strict=True):
        assert list(found.layers) == ['class-token attention', *more_layers]
        assert all(layers.shape == (3, 4, 5) for layers in found.layers.values())
        torch.testing.assert_close(found.attention * found.semantic, sample.loc_maps[0])
        torch.testing.assert_close(found.coupled, sample.loc_maps[0])
        assert found.rollout.shape == (4, 5) and 0 < found.rollout.sum() < 1


def test_layers_are_the_summands_of_ts_cams_attention():
    _, (maps,) = predict_with_maps(build('ts-cam'), batch(3, 32, 32, labels=(0,)))
    torch.testing.assert_close(maps.layers['class-token attention'].sum(dim=0), maps.attention)


def test_layers_of_lctr_are_the_summands_of_its_attention():
    _, (maps,) = predict_with_maps(build('lctr'), batch(3, 32, 32, labels=(0,)))
    torch.testing.assert_close(maps.layers['propagated attention'].mean(dim=0), maps.attention)


def test_class_agnostic_method_shows_its_masks():
    samples, (maps,) = predict_with_maps(build('sat'), batch(3, 32, 32, labels=(0,)))
    assert maps.attention is None and maps.semantic is None
    masks = maps.layers['spatial mask']
    assert masks.shape == (2, 4, 4)
    torch.testing.assert_close(masks.mean(dim=0), samples[0].loc_maps[0])
    assert maps.layers['class-token attention'].shape == (3, 4, 4)


def test_of_ten_crops_the_centre_is_shown():
    model = build('ts-cam')
    crops = batch(10, 3, 32, 32, labels=(1,))
    _, (maps,) = predict_with_maps(model, crops)
    centre = dict(crops, inputs=[crops['inputs'][0][4]])
    _, (expected,) = predict_with_maps(model, centre)
    torch.testing.assert_close(maps.coupled, expected.coupled)
    torch.testing.assert_close(maps.rollout, expected.rollout)


@pytest.mark.parametrize('method', ['cam', 'acol'])
def test_a_network_without_attention_has_its_localization_map_alone(method):
    samples, (maps,) = predict_with_maps(build(method), batch(3, 32, 40, labels=(1,)))
    assert maps.rollout is None and maps.attention is None and maps.layers == {}
    torch.testing.assert_close(maps.coupled, samples[0].loc_maps[0])
