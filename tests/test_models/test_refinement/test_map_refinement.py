"""Views and their fusion: values by hand, and every kind of model through the localizer."""

from tests.methods import METHODS, Size
from wsol_mm.models.refinement import MapRefinement
from wsol_mm.registry import MODELS

import pytest
import torch
from mmpretrain.structures import DataSample
from torch.nn import functional as F  # noqa: N812


def test_views_are_the_sizes_each_with_its_mirror() -> None:
    images = torch.rand(2, 3, 64, 64)
    small, small_mirrored, large, large_mirrored = MapRefinement([32, 64], flip=True).views(images)
    assert torch.equal(large, images)
    assert torch.equal(large_mirrored, images.flip(3))
    expected = F.interpolate(images, (32, 32), mode='bilinear', antialias=True)
    assert torch.equal(small, expected)
    assert torch.equal(small_mirrored, expected.flip(3))


def test_maps_are_mirrored_back_scaled_and_averaged() -> None:
    plain, mirrored = torch.tensor([[[[0.0, 2.0, 4.0]]]]), torch.tensor([[[[30.0, 10.0, 10.0]]]])
    fused = MapRefinement(flip=True).fuse([plain, mirrored], None, unit=False)
    torch.testing.assert_close(fused, torch.tensor([[[[0.0, 0.25, 1.0]]]]))
    unit = MapRefinement(flip=True).fuse([plain / 8, mirrored / 40], None, unit=True)
    torch.testing.assert_close(unit, torch.tensor([[[[0.125, 0.25, 0.625]]]]))


def test_maps_meet_on_the_finest_grid() -> None:
    coarse, fine = torch.rand(1, 2, 4, 4), torch.rand(1, 2, 8, 8)
    fused = MapRefinement([64, 128]).fuse([coarse, fine], None, unit=True)
    enlarged = F.interpolate(coarse, (8, 8), mode='bicubic', align_corners=False)
    torch.testing.assert_close(fused, (enlarged + fine) / 2)


def test_constant_maps_say_nothing_and_nan_stays() -> None:
    maps = torch.stack((torch.full((4, 4), 0.3), torch.full((4, 4), torch.nan)))[None]
    fused = MapRefinement(flip=True).fuse([maps, maps], None, unit=False)
    assert torch.equal(fused[0, 0], torch.zeros(4, 4))
    assert fused[0, 1].isnan().all()
    pixels, constant = 255 * torch.rand(1, 3, 48, 48), torch.full((1, 1, 4, 4), 0.37)
    refinement = MapRefinement(filters=[dict(type='GuidedFilter')], map_size=48)
    filtered = refinement.fuse([constant], pixels, unit=True)
    assert filtered.amax() == filtered.amin()


def test_filters_work_at_the_size_of_the_map() -> None:
    refinement = MapRefinement(filters=[dict(type='GuidedFilter', radius=2)], map_size=48)
    pixels = torch.rand(1, 3, 64, 64) * 255
    fused = refinement.fuse([torch.rand(1, 2, 4, 4)], pixels, unit=True)
    assert fused.shape == (1, 2, 48, 48)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(), 'refinement: expected sizes, flip or filters, got none'),
        (dict(sizes=[]), r'sizes: expected different integers from 1, or None, got \(\)'),
        (dict(sizes=[32, 32]), r'sizes: expected different integers from 1, or None, got \(32, 32\)'),
        (dict(flip=True, map_size=0), 'map_size: expected an integer from 1, got 0'),
    ],
)
def test_impossible_settings_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MapRefinement(**arguments)


def test_images_smaller_than_the_views_are_refused() -> None:
    with pytest.raises(
        ValueError, match='expected images of at least 64x64, the largest of the views, got 32x32'
    ):
        MapRefinement([32, 64]).views(torch.rand(1, 3, 32, 32))


@pytest.mark.parametrize('method', METHODS)
def test_every_method_is_refined(method: str) -> None:
    size = Size(patch=16, img_size=64)
    torch.manual_seed(0)
    model = MODELS.build(METHODS[method].model_config(size)).eval()
    refinement = MapRefinement(
        [64, 96], flip=True, filters=[dict(type='GuidedFilter', radius=4)], map_size=48
    )
    images = torch.randn(2, 3, 96, 96)
    samples = [DataSample().set_gt_label(label) for label in (3, 1)]
    with torch.no_grad():
        views = [
            model.predict(view, [sample.clone() for sample in samples]) for view in refinement.views(images)
        ]
        model.refinement = refinement
        refined = model.predict(images, [sample.clone() for sample in samples])
    unit = model.head.unit_maps
    for i, sample in enumerate(refined):
        # The map of the known class comes first, whatever the views take for the best classes.
        maps = [view[i].loc_maps[None, :1] for view in views]
        expected = refinement.fuse(maps, model._pixels(images)[i : i + 1], unit)
        torch.testing.assert_close(sample.loc_maps[:1], expected[0], rtol=1e-4, atol=1e-5)
        scores = torch.stack([view[i].pred_score for view in views]).mean(dim=0)
        torch.testing.assert_close(sample.pred_score, scores)
        assert sample.pred_label.item() == scores.argmax()


def test_a_classifier_with_gradients_is_refined() -> None:
    """Grad-CAM differentiates every view by itself."""
    classifier = dict(type='TorchvisionClassifier', model_name='resnet18', num_classes=5)
    settings = dict(type='ClassifierLocalizer', classifier=classifier, cam=dict(type='GradCAM'))
    torch.manual_seed(0)
    model = MODELS.build({**settings, 'refinement': dict(sizes=[64, 96], flip=True)}).eval()
    (sample,) = model.predict(torch.randn(1, 3, 96, 96))
    assert sample.loc_maps.shape == (5, 3, 3)
    assert sample.loc_maps.isfinite().all()


def test_cached_features_and_crops_are_refused() -> None:
    model = MODELS.build({**METHODS['sat'].model_config(), 'refinement': dict(flip=True)}).eval()
    with pytest.raises(ValueError, match='with model.refinement, got cached features'):
        model.predict({'feature_map': torch.rand(1, 24, 4, 4)})
    with pytest.raises(ValueError, match=r'with model.refinement, got the shape \(1, 10, 3, 32, 32\)'):
        model.predict(torch.rand(1, 10, 3, 32, 32))


def test_several_objects_of_an_image_are_not_fused_over_views() -> None:
    method = METHODS['tokencut']
    head = method.head_config(mode='maskcut', num_objects=2, all_objects=True)
    settings = {**method.model_config(), 'head': head}
    message = 'refinement: expected one view of an image with GraphCutHead of several objects, .*, got 4'
    with pytest.raises(ValueError, match=message):
        MODELS.build({**settings, 'refinement': dict(sizes=[32, 64], flip=True)})
    guided = dict(sizes=[32], filters=[dict(type='GuidedFilter', radius=2)], map_size=32)
    model = MODELS.build({**settings, 'refinement': guided}).eval()
    assert model.predict(torch.rand(1, 3, 32, 32))[0].loc_maps.shape == (2, 32, 32)


def test_the_attention_of_one_view_does_not_stand_for_all() -> None:
    torch.manual_seed(0)
    model, images = MODELS.build(METHODS['ts-cam'].model_config()).eval(), torch.randn(1, 3, 32, 32)
    plain = model.predict(images)[0].attn_map
    model.refinement = MapRefinement(filters=[dict(type='GuidedFilter', radius=2)], map_size=32)
    torch.testing.assert_close(model.predict(images)[0].attn_map, plain)
    model.refinement = MapRefinement(flip=True)
    assert 'attn_map' not in model.predict(images)[0]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_leave_filters_alone(dtype: torch.dtype) -> None:
    refinement = MapRefinement([32, 64], filters=[dict(type='GuidedFilter', radius=4)], map_size=32)
    maps = [torch.rand(1, 2, side, side).to(dtype) for side in (4, 8)]
    pixels = (torch.rand(1, 3, 64, 64) * 255).to(dtype)
    expected = refinement.fuse([one.float() for one in maps], pixels.float(), unit=True)
    with torch.autocast('cpu', dtype=dtype):
        found = refinement.fuse(maps, pixels, unit=True)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
