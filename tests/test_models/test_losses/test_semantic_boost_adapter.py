"""The semantic boost adapter against the reference, and what CLIP must not touch."""

import copy
import subprocess
import sys

from tests.clip_samples import DATA, RANDOM_CLIP, save_tiny_clip
from wsol_mm.models.losses import SemanticBoostAdapter, foreground_contrast_loss

import numpy as np
import pytest
import torch
from mmengine.model import BaseModule
from torch.nn import functional as F

NAMES = ('cat', 'dog', 'crane')


@pytest.fixture(scope='module')
def arrays():
    return dict(np.load(DATA / 'module_sba.npz'))


@pytest.fixture(scope='module')
def tiny_clip(tmp_path_factory) -> dict:
    return save_tiny_clip(tmp_path_factory.mktemp('clip'))


@pytest.fixture
def batch():
    """Images (3, 3, 32, 32), maps (3, 2, 2) and labels."""
    return torch.randn(3, 3, 32, 32), torch.rand(3, 2, 2), torch.tensor([2, 0, 0])


def make(**kwargs) -> SemanticBoostAdapter:
    return SemanticBoostAdapter(**{**dict(class_names=NAMES, clip=RANDOM_CLIP), **kwargs})


def inputs(arrays):
    maps = torch.from_numpy(arrays['in/object_map'])[:, 0].requires_grad_()
    return torch.from_numpy(arrays['in/image']), maps, torch.from_numpy(arrays['in/label'])


def error(found, expected) -> float:
    return np.abs(found.detach().numpy() - np.squeeze(expected)).max()


@pytest.mark.parametrize(('variant', 'names'), [('CUB', 'cub'), ('IMNET', 'ilsvrc')])
@pytest.mark.parametrize(('prompt_index', 'ending'), [('batch', ''), ('label', '_labelled')])
def test_reference(arrays, tiny_clip, variant, names, prompt_index, ending):
    adapter = SemanticBoostAdapter(class_names=names, clip=tiny_clip, prompt_index=prompt_index)
    images, maps, labels = inputs(arrays)
    loss = adapter(images, maps, labels)
    expected = arrays[f'out/{variant}_loss{ending}']
    assert error(loss, expected) <= 1e-5 * (1 + abs(expected))
    foreground, background = adapter.similarities(images, maps, labels)
    assert error(foreground, arrays[f'out/{variant}_fg_sim{ending}']) < 1e-5
    assert error(background, arrays[f'out/{variant}_bg_sim{ending}']) < 1e-5
    if prompt_index == 'label':
        return
    features = adapter.clip.image_features(adapter.views(images, maps)).chunk(2)
    for found, name in zip(features, ('fg', 'bg'), strict=True):
        expected = arrays[f'out/{variant}_{name}_feat']
        assert error(found, expected) <= 1e-5 + 2e-5 * np.abs(expected).max()
    texts = torch.from_numpy(arrays[f'out/{variant}_text_feat'])
    assert error(adapter.prompt_features(labels), F.normalize(texts, dim=-1).numpy()) < 1e-5
    (gradient,) = torch.autograd.grad(loss, maps)
    expected = arrays[f'grad/{variant}_object_map']
    assert error(gradient, expected) <= 1e-4 * np.abs(expected).max() + 1e-6


def test_the_map_is_upsampled_with_aligned_corners(arrays):
    images, maps, _ = inputs(arrays)
    masks = make().views(torch.ones_like(images), maps)[:4, 0]
    assert error(masks[..., ::16, ::16], arrays['out/object_map_224_s16']) < 1e-5


def test_clamped_similarities(arrays):
    foreground, background = (
        torch.from_numpy(arrays[f'in/clamp_{name}']).requires_grad_() for name in ('fg', 'bg')
    )
    loss = foreground_contrast_loss(foreground, background)
    loss.backward()
    assert error(loss, arrays['out/clamp_loss']) <= 1e-5 * (1 + abs(arrays['out/clamp_loss']))
    for tensor, name in ((foreground, 'fg'), (background, 'bg')):
        expected = arrays[f'grad/clamp_{name}']
        assert np.abs(tensor.grad.numpy() - expected).max() <= 1e-4 * np.abs(expected).max() + 1e-6


def test_views_are_the_masked_images(batch):
    images, maps, _ = batch
    foreground, background = make().views(images, torch.ones_like(maps)).chunk(2)
    torch.testing.assert_close(foreground, images)
    torch.testing.assert_close(background, torch.zeros_like(images))
    foreground, background = make().views(images, maps).chunk(2)
    torch.testing.assert_close(foreground + background, images)


def test_normalised_map(batch):
    images, maps, _ = batch
    maps[2] = 0.7  # constant
    maps = (5 * maps - 2).requires_grad_()
    low, high = maps.flatten(1).min(1).values.view(3, 1, 1), maps.flatten(1).max(1).values.view(3, 1, 1)
    expected = (maps - low) / (high - low + 1e-15)
    views = make(normalize_map=True).views(images, maps)
    torch.testing.assert_close(views, make().views(images, expected))
    assert not views[2].any() and torch.equal(views[5], images[2])
    weights = torch.randn_like(views[[0, 1]])
    found, wanted = (
        torch.autograd.grad((weights * v[[0, 1]]).sum(), maps)[0]
        for v in (views, make().views(images, expected))
    )
    torch.testing.assert_close(found[:2], wanted[:2])
    assert found[0].flatten()[maps[0].argmin()] != 0  # through the minimum, too


def test_small_range_in_half_precision(batch):
    images, maps, labels = batch
    maps = (1e-4 * maps).half().requires_grad_()
    loss = make(normalize_map=True)(images, maps, labels)
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite() and maps.grad.isfinite().all()


def test_statistics_of_clip(batch):
    import open_clip

    images, maps, _ = batch
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    pixels = images * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
    clip_mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    clip_std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    found = make(clip_statistics=True).views(images, torch.ones_like(maps))[:3]
    torch.testing.assert_close(found, (pixels / 255 - clip_mean) / clip_std)
    half = (127.5,) * 3
    found = make(clip_statistics=True, image_mean=half, image_std=half).views(images, torch.ones_like(maps))
    torch.testing.assert_close(found[:3], ((images * 127.5 + 127.5) / 255 - clip_mean) / clip_std)


def test_prompt_of_the_position_and_of_the_label(batch):
    labels = batch[2]
    features = make().clip.text_features([f'a photo of {name}.' for name in NAMES], 'cpu')
    assert torch.equal(make().prompt_features(labels), features)
    assert torch.equal(make(prompt_index='label').prompt_features(labels), features[[2, 0, 0]])
    bird = make(prompt='a {} bird').prompt_features(labels)
    assert torch.equal(bird, make().clip.text_features(['a cat bird', 'a dog bird', 'a crane bird'], 'cpu'))


def test_batch_larger_than_the_class_list(batch):
    images, maps, labels = (torch.cat((part, part)) for part in batch)
    with pytest.raises(
        ValueError, match=r"expected a batch of at most 3 images .*, got 6\..*sba\.prompt_index='label'"
    ):
        make()(images, maps, labels)
    assert make(prompt_index='label')(images, maps, labels).isfinite()


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(prompt_index='labels'), "prompt_index: expected 'batch' or 'label', got 'labels'"),
        (dict(prompt='a photo'), r"prompt: expected a text with \{\} once, .* got 'a photo'"),
    ],
)
def test_wrong_options(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)


def test_wrong_shape_of_maps(batch):
    images, maps, labels = batch
    with pytest.raises(ValueError, match=r'each image of \(3, 3, 32, 32\), got the shape \(3, 1, 2, 2\)'):
        make()(images, maps[:, None], labels)


def test_number_of_names():
    with pytest.raises(
        ValueError,
        match="class_names: expected a name for each of the 4 classes, got 3 .'cat', 'dog', 'crane', ",
    ):
        make(num_classes=4).init_weights()
    with pytest.raises(ValueError, match='class_names: expected .*, got 3 '):
        make(num_classes=4, class_names=None).set_class_names(NAMES)


def test_names_are_needed(batch):
    with pytest.raises(
        ValueError, match=r"got none\. Set them, or add dict\(type='ClassNamesHook'\) to custom_hooks"
    ):
        make(class_names=None)(*batch)


def test_nothing_of_clip_in_the_model(batch):
    adapter = make()
    adapter(*batch)
    adapter.train()
    assert not adapter.state_dict() and not list(adapter.parameters()) and not list(adapter.children())
    adapter.load_state_dict({})
    assert not adapter.clip._visual.training
    assert copy.deepcopy(adapter).clip is adapter.clip


def test_init_weights_loads_clip_before_the_training():
    class Model(BaseModule):
        def __init__(self, **kwargs):
            super().__init__()
            self.sba = make(**kwargs)

    model = Model()
    assert not model.sba.clip.is_loaded
    model.init_weights()
    assert model.sba.clip.is_loaded and len(model.sba.prompts) == 3
    missing = Model(clip=dict(RANDOM_CLIP, pretrained='/no/clip.pt'))
    with pytest.raises(FileNotFoundError, match='model.head.sba.clip.pretrained=PATH'):
        missing.init_weights()


def test_autocast(batch):
    images, maps, labels = batch
    exact = make()(images, maps, labels)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rough = make()(images, maps.bfloat16(), labels)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=0.02, rtol=0)


def test_open_clip_is_not_imported_without_a_training():
    """Importing everything, building the adapter and its weights in a checkpoint need no open_clip."""
    script = (
        'import sys, wsol_mm.models, wsol_mm.engine.hooks\n'
        'from wsol_mm.models.losses import SemanticBoostAdapter\n'
        "adapter = SemanticBoostAdapter(class_names='ilsvrc').eval()\n"
        'adapter.load_state_dict(adapter.state_dict())\n'
        "assert 'open_clip' not in sys.modules and not adapter.clip.is_loaded\n"
    )
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
