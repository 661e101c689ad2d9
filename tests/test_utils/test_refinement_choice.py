"""The refinement in words, and the images that it needs."""

from wsol_mm.utils.refinement_choice import enlarged, refinement_config, use_refinement

import pytest
from mmengine.config import Config


def test_words_become_a_config() -> None:
    assert refinement_config(['336', 'guided', '224', 'flip', 'grabcut']) == dict(
        type='MapRefinement',
        sizes=[336, 224],
        flip=True,
        filters=[dict(type='GuidedFilter'), dict(type='GrabCut')],
    )
    assert refinement_config(['guided', 'sam=weights/sam_vit_b.pth', 'solver'])['filters'] == [
        dict(type='GuidedFilter'),
        dict(type='SAMPrompt', checkpoint='weights/sam_vit_b.pth'),
        dict(type='BilateralSolver'),
    ]
    assert refinement_config(['flip']) == dict(type='MapRefinement', sizes=None, flip=True, filters=[])


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (
            ['sharp'],
            r"refine: expected sides of views in pixels, 'flip', filters of \['guided', .*got 'sharp'",
        ),
        (['0'], "got '0'"),
        (['sam='], "and sam=FILE with the weights of SAM, got 'sam='"),
        (['sam'], "got 'sam'"),
        (['224', '224'], "refine: expected every word once, got '224' twice"),
        ([], "refine: expected at least one word, such as 'flip' or 'guided', got none"),
    ],
)
def test_other_words_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        refinement_config(words)


def test_the_images_come_at_the_size_of_the_largest_view() -> None:
    pipeline = [
        dict(type='LoadImageWithPillow'),
        dict(type='ResizeEdge', scale=256, backend='pillow'),
        dict(type='CenterCrop', crop_size=224),
        dict(type='PackLocalizationInputs'),
    ]
    cfg = Config(dict(model=dict(), test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    use_refinement(cfg, ['224', '448'])
    steps = cfg.test_dataloader.dataset.pipeline
    assert [steps[1]['scale'], steps[2]['crop_size']] == [512, 448]
    assert steps[1]['backend'] == 'pillow'
    assert cfg.model.refinement.sizes == [224, 448]
    squash = [dict(type='Resize', scale=(224, 224)), dict(type='PackLocalizationInputs')]
    assert enlarged(squash, 336)[0]['scale'] == (336, 336)


def test_without_sizes_the_images_stay_as_they_are() -> None:
    pipeline = [dict(type='Resize', scale=(224, 112))]
    cfg = Config(dict(model=dict(), test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    use_refinement(cfg, ['flip', 'guided'])
    assert cfg.test_dataloader.dataset.pipeline == pipeline


@pytest.mark.parametrize(
    'pipeline', [[dict(type='Resize', scale=(224, 112))], [dict(type='LoadImageFromFile')]]
)
def test_images_that_are_no_squares_are_refused(pipeline: list[dict]) -> None:
    with pytest.raises(
        ValueError, match='refine: expected a test pipeline that makes square images, got the size'
    ):
        enlarged(pipeline, 336)


def test_a_later_choice_goes_back_to_the_images_of_the_config() -> None:
    pipeline = [dict(type='ResizeEdge', scale=256), dict(type='CenterCrop', crop_size=224)]
    cfg = Config(dict(model=dict(), test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    use_refinement(cfg, ['336', '448'])
    use_refinement(cfg, ['224', '336'])
    assert cfg.test_dataloader.dataset.pipeline[1]['crop_size'] == 336
    use_refinement(cfg, ['flip'])
    assert cfg.test_dataloader.dataset.pipeline == pipeline
    assert cfg.model.refinement.image_size == 224 and cfg.model.refinement.sizes is None
    use_refinement(cfg, ['448'])
    assert cfg.test_dataloader.dataset.pipeline[0]['scale'] == 512


@pytest.mark.parametrize(
    'settings', [dict(), dict(test_dataloader=None), dict(test_dataloader=dict(dataset=dict()))]
)
def test_a_config_without_a_test_pipeline_is_named(settings: dict) -> None:
    cfg = Config(dict(model=dict(), **settings))
    with pytest.raises(
        ValueError, match='refine: expected test_dataloader.dataset.pipeline in the config, got none'
    ):
        use_refinement(cfg, ['224', '448'])
    use_refinement(cfg, ['flip'])
    assert cfg.model.refinement.flip


def test_views_of_a_config_that_does_not_say_the_size_without_them() -> None:
    pipeline = [dict(type='Resize', scale=448)]
    model = dict(refinement=dict(type='MapRefinement', sizes=(224, 448)))
    cfg = Config(dict(model=model, test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    with pytest.raises(ValueError, match=r'model.refinement.image_size: expected .*\[224, 448\].*, got None'):
        use_refinement(cfg, ['flip'])
    cfg.model.refinement.image_size = 224
    use_refinement(cfg, ['flip'])
    assert cfg.test_dataloader.dataset.pipeline[0]['scale'] == 224
