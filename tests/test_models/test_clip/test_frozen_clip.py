"""The frozen CLIP: features of the reference, frozen, shared, computed once."""

import copy
import json
from contextlib import nullcontext

from tests.clip_samples import DATA, RANDOM_CLIP, save_tiny_clip
from wsol_mm.models.clip import FrozenCLIP
from wsol_mm.models.clip.frozen_clip import _encoder_autocast

import numpy as np
import pytest
import torch
from torch.nn import functional as F


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope='module')
def tiny(tmp_path_factory) -> FrozenCLIP:
    """The model of the reference case."""
    return FrozenCLIP(**save_tiny_clip(tmp_path_factory.mktemp('clip')))


@pytest.fixture(scope='module')
def arrays():
    return {name: value for name, value in np.load(DATA / 'tiny_clip.npz').items() if '/' in name}


@pytest.fixture
def counted(monkeypatch):
    """A random model whose loads and text encodings are counted."""
    from wsol_mm.models.clip import frozen_clip

    counts = dict(loads=0, texts=0)
    load = frozen_clip.load_clip

    def count_load(*args):
        counts['loads'] += 1
        loaded = load(*args)
        encode = loaded.network.encode_text

        def count_text(tokens):
            counts['texts'] += len(tokens)
            return encode(tokens)

        monkeypatch.setattr(loaded.network, 'encode_text', count_text)
        return loaded

    monkeypatch.setattr(frozen_clip, 'load_clip', count_load)
    return FrozenCLIP(**RANDOM_CLIP), counts


def within(found, expected, rtol=2e-5, atol=1e-5) -> bool:
    return np.abs(found.detach().numpy() - expected).max() <= atol + rtol * np.abs(expected).max()


def test_reference_features_and_gradient(tiny, arrays):
    prompts = json.loads((DATA / 'tiny_clip.json').read_text())['prompts']
    images = torch.from_numpy(arrays['in/image']).requires_grad_()
    features = tiny.image_features(images)
    assert within(features, arrays['out/image_feat'])
    texts = tiny.text_features(prompts, 'cpu')
    assert within(texts, F.normalize(torch.from_numpy(arrays['out/text_feat']), dim=-1).numpy())
    cosine = F.normalize(features, dim=-1) @ texts.T
    assert within(cosine, arrays['out/cosine'])
    cosine.sum().backward()
    assert within(images.grad[..., ::16, ::16], arrays['out/grad_image_s16'], rtol=1e-4, atol=1e-6)
    assert np.array_equal(tiny._tokenizer(prompts).numpy(), arrays['in/tokens'])
    assert not texts.requires_grad


def test_quick_gelu_matters(tiny, arrays):
    plain = FrozenCLIP({**tiny.model, 'quick_gelu': False}, tiny.pretrained)
    features = plain.image_features(torch.from_numpy(arrays['in/image']))
    assert 1e-2 < np.abs(features.numpy() - arrays['out/image_feat']).max() < 3e-2


def test_nothing_of_it_belongs_to_a_module_that_holds_it(counted):
    clip, _ = counted
    holder = torch.nn.Module()
    holder.clip = clip
    clip.load()
    holder.train()
    holder.double()
    assert not list(holder.modules())[1:] and not list(holder.parameters()) and not holder.state_dict()
    assert not clip._visual.training and not any(module.training for module in clip._visual.modules())
    assert {parameter.dtype for parameter in clip._visual.parameters()} == {torch.float32}


def test_copies_share_it(counted):
    clip, counts = counted
    first = copy.deepcopy(clip)
    clip.load()
    assert first is clip and copy.deepcopy([clip])[0] is clip
    assert counts['loads'] == 1


def test_weights_get_no_gradient(counted):
    clip, _ = counted
    images = torch.randn(2, 3, 32, 32, requires_grad=True)
    clip.image_features(images).sum().backward()
    assert images.grad.abs().sum() > 0
    assert not any(p.requires_grad or p.grad is not None for p in clip._visual.parameters())


def test_prompts_are_encoded_once_and_the_text_encoder_is_given_free(counted):
    clip, counts = counted
    prompts = [f'a photo of thing {i}.' for i in range(70)]  # more than a chunk
    first = clip.text_features(prompts, 'cpu')
    assert first.shape == (70, 8)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(70))
    for _ in range(3):
        assert torch.equal(clip.text_features(prompts, torch.device('cpu')), first)
        clip.image_features(torch.randn(1, 3, 32, 32))
    assert counts == dict(loads=1, texts=70)
    assert clip._whole is None and clip.is_loaded


def test_chunks_change_nothing(counted):
    clip, _ = counted
    prompts = [f'a photo of thing {i}.' for i in range(70)]
    whole = clip.text_features(prompts, 'cpu')
    assert torch.allclose(clip.text_features(prompts[66:], 'cpu'), whole[66:], atol=1e-6)


def test_other_prompts_load_the_text_encoder_again(counted):
    clip, counts = counted
    cat = clip.text_features(['cat'], 'cpu')
    dog = clip.text_features(['dog'], 'cpu')
    assert not torch.equal(cat, dog)
    assert torch.equal(clip.text_features(['cat'], 'cpu'), cat)
    assert counts == dict(loads=3, texts=3)


def test_images_of_another_size_are_resized(counted):
    clip, _ = counted
    images = torch.randn(2, 3, 48, 40)
    resized = F.interpolate(images, (32, 32), mode='bicubic', align_corners=False, antialias=True)
    assert torch.equal(clip.image_features(images), clip.image_features(resized))


def test_half_precision_images(counted):
    clip, _ = counted
    images = torch.randn(2, 3, 32, 32).half()
    assert torch.equal(clip.image_features(images), clip.image_features(images.float()))


def test_autocast_on_the_cpu_is_what_is_active(counted):
    clip, _ = counted
    images = torch.randn(2, 3, 32, 32)
    exact = clip.image_features(images)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rough = clip.image_features(images)
        texts = clip.text_features(['cat'], 'cpu')
    assert exact.dtype == rough.dtype == texts.dtype == torch.float32
    assert 0 < (exact - rough).abs().max() < 0.05 * exact.abs().max()
    assert torch.equal(texts, FrozenCLIP(**RANDOM_CLIP).text_features(['cat'], 'cpu'))


@pytest.mark.parametrize('supported', [True, False])
def test_autocast_on_cuda_is_bfloat16_where_there_is(supported, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: supported)
    with pytest.warns(UserWarning, match='CUDA') if supported else nullcontext():
        context = _encoder_autocast(torch.device('cuda'))
    assert isinstance(context, torch.autocast) == supported
    assert not supported or context.fast_dtype == torch.bfloat16
    assert not isinstance(_encoder_autocast(torch.device('cpu')), torch.autocast)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_it_follows_its_inputs_to_the_device(tiny, arrays):
    features = tiny.image_features(torch.from_numpy(arrays['in/image']).cuda())
    assert features.is_cuda and features.dtype == torch.float32
    assert np.abs(features.cpu().numpy() - arrays['out/image_feat']).max() < 0.1
    assert tiny.text_features(['cat'], 'cuda').is_cuda
    assert not tiny.image_features(torch.from_numpy(arrays['in/image'])).is_cuda
