"""A localizer that is told names: texts, scores, and what it refuses."""

import copy

from tests.clip_samples import RANDOM_CLIP
from tests.methods import ZERO_SHOT, Size
from wsol_mm.apis.model_loading import check_trained, load_localizer
from wsol_mm.models.clip import FrozenCLIP
from wsol_mm.models.clip.loading import load_clip
from wsol_mm.registry import MODELS

import pytest
import torch
from mmengine.config import Config
from mmpretrain.structures import DataSample
from torch.nn import functional as F  # noqa: N812

SIZE = Size(layers=2, num_classes=3)


def config(**options) -> dict:
    return ZERO_SHOT['gem'].model_config(SIZE, **options)


def build(**options):
    return MODELS.build(config(**options)).eval()


def texts_of(*prompts: str) -> torch.Tensor:
    return FrozenCLIP(**config()['clip']).text_features(prompts, 'cpu')


def test_scores_are_those_of_clip_without_training():
    model = build(class_names=['dog', 'green_bird'])
    loaded = load_clip(**config()['clip'])
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        token = F.normalize(loaded.network.encode_image(images), dim=-1)
        tokens = loaded.tokenizer(['a photo of a dog.', 'a photo of a green bird.'])
        expected = (100 * token @ F.normalize(loaded.network.encode_text(tokens), dim=-1).T).softmax(dim=-1)
        samples = model.predict(images)
    for sample, scores in zip(samples, expected, strict=True):
        torch.testing.assert_close(sample.pred_score, scores, atol=1e-5, rtol=1e-4)
        assert sample.loc_maps.shape == (2, 4, 4)


def test_map_prompt():
    model = build(class_names=['Auk', 'Ani'], prompt='{}', map_prompt='a bird, {}')
    torch.testing.assert_close(model.head.class_texts, texts_of('Auk', 'Ani'))
    torch.testing.assert_close(model.head.map_texts, texts_of('a bird, Auk', 'a bird, Ani'))
    model = build(class_names=['Auk', 'Ani'], map_prompt='a bird')
    torch.testing.assert_close(model.head.map_texts, texts_of('a bird', 'a bird'))
    assert not torch.equal(*model.head.class_texts)


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        (('001.Black_footed_Albatross', '002.Ani'), ['Black footed Albatross', 'Ani']),
        (['n01443537', 'n01440764'], ['goldfish, Carassius auratus', 'tench, Tinca tinca']),
        (['cat', 'my  dog'], ['cat', 'my dog']),
    ],
)
def test_names(names, expected):
    assert build(class_names=names).class_names == expected


def test_names_from_a_file_and_later_ones(tmp_path):
    (tmp_path / 'names.txt').write_text('cat\ndog\n')
    model = build(class_names=str(tmp_path / 'names.txt'))
    assert model.class_names == ['cat', 'dog'] and model.head.num_classes == 2
    tower = model.backbone.visual
    model.set_class_names(['cat', 'dog', 'red bus', 'sofa'])
    assert model.head.num_classes == 4 and model.backbone.visual is tower
    torch.testing.assert_close(model.head.class_texts[2:3], texts_of('a photo of a red bus.'))
    (sample,) = model.predict(torch.randn(1, 3, 32, 32), [DataSample().set_gt_label(3)])
    assert sample.loc_labels[0] == 3 and len(sample.pred_score) == 4


def test_clip_is_loaded_once(monkeypatch):
    loads = []
    monkeypatch.setattr(
        'wsol_mm.models.clip.frozen_clip.load_clip', lambda *args: loads.append(args) or load_clip(*args)
    )
    build(class_names=['cat', 'dog'], map_prompt='an animal')
    assert len(loads) == 1


def test_weights_are_those_of_the_tower_alone():
    model = build()
    assert model.state_dict() and all(name.startswith('backbone.visual.') for name in model.state_dict())
    before = copy.deepcopy(model.state_dict())
    model.init_weights()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    check_trained(model)  # raises where a checkpoint is needed


def test_mean_and_std_are_those_of_clip():
    model = build()
    torch.testing.assert_close(
        model.data_preprocessor.mean.flatten(), torch.tensor([122.77, 116.75, 104.09]), atol=0.01, rtol=0
    )


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_weights_in_half_precision(dtype):
    model, images = build(), torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        expected = model.predict(images)
        found = model.to(dtype).predict(images.to(dtype))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.pred_score.float(), other.pred_score, atol=0.1, rtol=0)
        torch.testing.assert_close(one.loc_maps, other.loc_maps, atol=0.05, rtol=0)


def test_training_is_refused():
    with pytest.raises(ValueError, match='model.type: expected a model to train, got CLIPLocalizer'):
        build().loss(torch.zeros(1, 3, 32, 32), [DataSample().set_gt_label(0)])


def test_without_names():
    model = build(class_names=None)
    assert model.class_names is None
    with pytest.raises(
        ValueError, match='model.class_names: expected the names of what is to be found, got none'
    ):
        model.predict(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(prompt='a photo.'), ValueError, "^prompt: expected a text with {} once, .* got 'a photo.'"),
        (
            dict(map_prompt='{} {}'),
            ValueError,
            "^map_prompt: expected a text with {} at most once, .* got '{} {}'",
        ),
        (dict(map_prompt=' '), ValueError, '^map_prompt: expected'),
        (dict(pretrained='a.pth'), ValueError, "^pretrained: expected None, .* got 'a.pth'"),
        (dict(class_names=[]), ValueError, r'^model.class_names: expected a name for every class, got \[\]'),
        (
            dict(class_names=['cat', '7']),
            ValueError,
            r'^model.class_names: expected a list .* of their 2 classes',
        ),
        (dict(class_names='cup'), FileNotFoundError, "^model.class_names: expected 'cub', .* got 'cup'"),
        (
            dict(clip=dict(model='ViT-B-16-quickgelu', pretrained='/no/clip.pt')),
            FileNotFoundError,
            "^model.clip.pretrained: expected a file or one of the tags .* got '/no/clip.pt'",
        ),
        (
            dict(clip=dict(model='RN50', pretrained=None)),
            ValueError,
            "^model.clip.model: .* got 'RN50', whose",
        ),
    ],
)
def test_arguments(options, error, message):
    with pytest.raises(error, match=message):
        build(**options)


def test_loading_tells_it_the_classes():
    cfg = Config(dict(model=config(class_names=None)))
    model, classes = load_localizer(cfg, None, ['sea_gull', 'dog'], 'cpu')
    assert classes == ('sea_gull', 'dog') and model.class_names == ['sea gull', 'dog']
    assert cfg.model.class_names is None
    model, classes = load_localizer(Config(dict(model=config(class_names=['cat']))), None, device='cpu')
    assert classes == ('cat',)


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (None, 'classes: expected the names of what is to be found .* got none'),
        (['cat', 'dog', 'cat'], "classes: expected different names, got 'cat' twice"),
        (['cat', '  '], 'model.class_names: expected a name for every class'),
    ],
)
def test_classes_that_it_cannot_be_told(classes, message):
    with pytest.raises(ValueError, match=message):
        load_localizer(Config(dict(model=config(class_names=None))), None, classes, 'cpu')


def test_a_checkpoint_of_the_tower(tmp_path):
    model = build()
    for parameter in model.parameters():
        parameter.data += 1
    torch.save(model.state_dict(), tmp_path / 'tower.pth')
    loaded, _ = load_localizer(Config(dict(model=config())), tmp_path / 'tower.pth', device='cpu')
    assert torch.equal(loaded.backbone.visual.conv1.weight, model.backbone.visual.conv1.weight)


def test_backbone_with_another_head():
    """The tower is a backbone like any other."""
    model = MODELS.build(
        dict(
            type='ImageLocalizer',
            backbone=dict(type='CLIPVisionTransformer', clip=RANDOM_CLIP, depth=2),
            head=dict(type='CAMHead', num_classes=3, hidden_channels=()),
        )
    ).eval()
    assert model.head.in_channels == 8
