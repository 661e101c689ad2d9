"""Building CLIP models and finding their weights, without a network."""

import copy
import re
import urllib.error
from pathlib import Path

from tests.clip_samples import RANDOM_CLIP
from wsol_mm.models.clip import FrozenCLIP
from wsol_mm.models.clip.loading import load_clip

import open_clip
import pytest
import torch
from mmengine.config import ConfigDict

CONFIG = RANDOM_CLIP['model']
pytestmark = pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')


@pytest.fixture
def messages(monkeypatch):
    """What is written to the log."""
    written = []
    monkeypatch.setattr(
        'wsol_mm.models.clip.loading.print_log', lambda message, **kwargs: written.append(message)
    )
    return written


@pytest.fixture
def network():
    """A network of the small config with weights of its own."""
    torch.manual_seed(7)
    return open_clip.CLIP(**copy.deepcopy(CONFIG))


def same_weights(first, second) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(name == other and torch.equal(a, b) for (name, a), (other, b) in pairs)


def save_archive(network, path: Path) -> None:
    """Save what OpenAI publishes: a TorchScript archive with three facts among its buffers."""
    network = copy.deepcopy(network).eval()
    for name, fact in dict(input_resolution=32, context_length=77, vocab_size=49408).items():
        vars(network).pop(name, None)
        network.register_buffer(name, torch.tensor(fact))
    network.attn_mask = network._buffers.pop('attn_mask')  # a trace would save it with the weights
    images, tokens = torch.randn(1, 3, 32, 32), torch.ones(1, 77, dtype=torch.long)
    torch.jit.trace(network, (images, tokens), check_trace=False).save(str(path))


@pytest.mark.parametrize('kind', ['state_dict', 'container', 'safetensors', 'archive'])
def test_local_files(kind, network, messages, tmp_path):
    path = tmp_path / ('clip.safetensors' if kind == 'safetensors' else 'clip.pt')
    if kind == 'archive':
        save_archive(network, path)
    elif kind == 'safetensors':
        from safetensors.torch import save_file

        save_file(network.state_dict(), path)
    else:
        state = network.state_dict()
        torch.save(state if kind == 'state_dict' else {'state_dict': state, 'epoch': 3}, path)
    loaded = load_clip(ConfigDict(copy.deepcopy(CONFIG)), str(path))
    assert same_weights(loaded.network, network)
    assert messages == [f'Loaded CLIP model of the given config from {path}']
    assert loaded.tokenizer(['a photo of crane.']).shape == (1, 77)


def test_half_precision_weights_become_float32(network, tmp_path):
    torch.save({name: value.half() for name, value in network.state_dict().items()}, tmp_path / 'half.pt')
    loaded = load_clip(CONFIG, str(tmp_path / 'half.pt'))
    assert {parameter.dtype for parameter in loaded.network.parameters()} == {torch.float32}


def test_archive_of_openai_for_a_model_without_quick_gelu(network, messages, tmp_path):
    save_archive(network, tmp_path / 'ViT.pt')
    load_clip({**CONFIG, 'quick_gelu': False}, str(tmp_path / 'ViT.pt'))
    assert 'expected quick_gelu=True, with which the weights' in messages[0]
    assert 'with quick_gelu=False: its features are off' in messages[0]


def named(monkeypatch, path) -> None:
    """Let the two names of ViT-B-32 mean the small model, and downloads give a file."""
    for name in ('ViT-B-32', 'ViT-B-32-quickgelu'):
        config = {**copy.deepcopy(CONFIG), 'quick_gelu': name.endswith('quickgelu')}
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
    monkeypatch.setattr(open_clip, 'download_pretrained', lambda tag: str(path))


@pytest.mark.parametrize(
    ('model', 'tag', 'warning'),
    [
        ('ViT-B-32-quickgelu', 'openai', None),
        ('ViT-B-32', 'laion2b_s34b_b79k', None),
        (
            'ViT-B-32',
            'openai',
            'expected quick_gelu=True, .* got .* with quick_gelu=False.* ends in -quickgelu',
        ),
    ],
)
def test_tags(model, tag, warning, network, messages, monkeypatch, tmp_path):
    path = tmp_path / 'weights.pt'
    torch.save(network.state_dict(), path)
    named(monkeypatch, path)
    loaded = load_clip(model, tag)
    assert same_weights(loaded.network, network)
    assert loaded.mean == open_clip.OPENAI_DATASET_MEAN and loaded.std == open_clip.OPENAI_DATASET_STD
    assert messages.pop() == f'Loaded CLIP model {model!r} from {path}'
    assert len(messages) == (warning is not None)
    assert warning is None or re.search(warning, messages[0])


@pytest.mark.parametrize('error', [urllib.error.URLError('no route'), FileNotFoundError('no route')])
def test_without_network_the_error_says_what_is_missing(error, monkeypatch):
    def fail(tag):
        raise error

    named(monkeypatch, None)
    monkeypatch.setattr(open_clip, 'download_pretrained', fail)
    with pytest.raises(FileNotFoundError) as caught:
        FrozenCLIP().load()
    message = str(caught.value)
    assert "the weights 'openai' of the CLIP model 'ViT-B-32-quickgelu'" in message
    assert 'no route' in message
    assert open_clip.get_pretrained_url('ViT-B-32-quickgelu', 'openai') in message
    assert 'https://huggingface.co/timm/vit_base_patch32_clip_224.openai/resolve/main/' in message
    assert 'give the file: model.head.sba.clip.pretrained=PATH' in message


def test_every_process_of_a_machine_comes_to_the_download(monkeypatch, network, tmp_path):
    path = tmp_path / 'weights.pt'
    torch.save(network.state_dict(), path)
    for rank, order in (('0', ['download', 'barrier']), ('1', ['barrier', 'download'])):
        done = []
        named(monkeypatch, path)
        monkeypatch.setenv('LOCAL_RANK', rank)
        monkeypatch.setattr('wsol_mm.utils.per_node.barrier', lambda log=done: log.append('barrier'))
        monkeypatch.setattr(
            open_clip, 'download_pretrained', lambda tag, log=done: log.append('download') or str(path)
        )
        load_clip('ViT-B-32', 'openai')
        assert done == order


@pytest.mark.parametrize(
    ('model', 'pretrained', 'message'),
    [
        (
            'ViT-B-32-quickgelu',
            'opena',
            r": expected .* one of the tags \['openai', .*, got 'opena'.*pretrained=PATH",
        ),
        ('ViT-B-32-quickgelu', '/no/clip.pt', ": expected a file or one of .*, got '/no/clip.pt'"),
        (CONFIG, 'openai', ": expected a file .the model has no tags., got 'openai'"),
    ],
)
def test_pretrained_that_is_nothing(model, pretrained, message):
    with pytest.raises(FileNotFoundError, match=f'model.head.sba.clip.pretrained{message}'):
        load_clip(model, pretrained)


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        ('ViT-B32-quickgelu', r"such as \[.*'ViT-B-32-quickgelu'.*, got 'ViT-B32-quickgelu' .open_clip"),
        ({'embed_dim': 3}, r"expected a config of open_clip .*, got a dict with \['embed_dim'\]"),
        ('coca_ViT-B-32', "expected a CLIP model, got 'coca_ViT-B-32'"),
    ],
)
def test_models_that_are_none(model, message):
    with pytest.raises(ValueError, match=message):
        load_clip(model, None)


@pytest.mark.parametrize('content', ['other_model', 'web_page', 'no_safetensors'])
def test_files_of_something_else(content, network, tmp_path):
    path = tmp_path / ('clip.safetensors' if content == 'no_safetensors' else 'clip.pt')
    if content == 'other_model':
        torch.save({'weight': torch.zeros(3)}, path)
    else:
        path.write_text('<html>not found</html>')
    message = (
        r': expected the weights of the CLIP model of the given config \(model.head.sba.clip.model\), got'
    )
    with pytest.raises(ValueError, match=message):
        load_clip(CONFIG, str(path))


def test_random_weights_are_the_same_everywhere_and_leave_the_random_numbers_alone(messages):
    torch.manual_seed(1)
    expected = torch.rand(3)
    networks = []
    for _ in range(2):
        torch.manual_seed(1)
        networks.append(load_clip(CONFIG, None).network)
        assert torch.equal(torch.rand(3), expected)
        torch.rand(5)
    assert same_weights(*networks)
    assert 'random weights, from which nothing can be learned' in messages[0]
