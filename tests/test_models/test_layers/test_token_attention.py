"""Tests of wsol_mm.models.layers.token_attention and token_encoder_layer."""

import copy
import pickle

from wsol_mm.models.layers import TokenAttention, TokenEncoderLayer

import pytest
import torch


def explicit_attention(module: TokenAttention, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The formula of the paper, step by step."""
    batch, tokens, width = x.shape
    heads = module.num_heads
    qkv = x @ module.qkv.weight.T + module.qkv.bias
    query, key, value = qkv.chunk(3, dim=-1)
    split = [t.reshape(batch, tokens, heads, width // heads).transpose(1, 2) for t in (query, key, value)]
    weights = torch.softmax(split[0] @ split[1].transpose(2, 3) * module.scale, dim=-1)
    out = (weights @ split[2]).transpose(1, 2).reshape(batch, tokens, width)
    return out @ module.proj.weight.T + module.proj.bias, weights


@pytest.fixture
def attention() -> TokenAttention:
    module = TokenAttention(24, 3).double()
    for parameter in module.parameters():
        parameter.data.normal_(std=0.4)
    return module.eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randn(2, 11, 24, dtype=torch.float64)


def test_equals_explicit_attention(attention, tokens):
    expected, weights = explicit_attention(attention, tokens)
    row = {'class_attention': weights[:, :, 0]}
    for needs, expected_maps in [
        (set(), {}),
        ({'class_attention'}, row),
        ({'full_attention'}, row | {'full_attention': weights}),
    ]:
        out, found = attention(tokens, needs)
        torch.testing.assert_close(out, expected)
        torch.testing.assert_close(found, expected_maps)


@pytest.mark.parametrize('name', ['class_attention', 'full_attention'])
def test_own_scale(tokens, name):
    module = TokenAttention(24, 3, qk_scale=24**-0.5).double().eval()
    expected, weights = explicit_attention(module, tokens)
    out, found = module(tokens, {name})
    assert module.scale == 24**-0.5
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(found[name], weights if name == 'full_attention' else weights[:, :, 0])


def test_class_row_has_the_gradients_of_the_full_attention(attention, tokens):
    target = torch.randn(2, 3, 11, dtype=torch.float64)
    gradients = []
    for name in ('class_attention', 'full_attention'):
        attention.zero_grad()
        weights = attention(tokens, {name})[1][name]
        row = weights if name == 'class_attention' else weights[:, :, 0]
        (row * target).sum().backward()
        gradients.append(attention.qkv.weight.grad.clone())
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients)


def test_class_request_never_computes_a_square_matrix(attention, tokens, monkeypatch):
    shapes = []
    original = TokenAttention.attention_weights

    def record(self, query, key):
        weights = original(self, query, key)
        shapes.append(tuple(weights.shape))
        return weights

    monkeypatch.setattr(TokenAttention, 'attention_weights', record)
    attention(tokens)
    attention(tokens, {'class_attention'})
    assert shapes == [(2, 3, 1, 11)]


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_weights_stay_in_float32_under_autocast(dtype):
    module = TokenAttention(24, 3).eval()
    x = torch.randn(2, 11, 24)
    expected = module(x, {'class_attention'})[1]['class_attention']
    with torch.autocast('cpu', dtype=dtype):
        out, maps = module(x, {'class_attention'})
    found = maps['class_attention']
    assert out.dtype == dtype and found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=2e-2, rtol=0)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(2, 3), atol=1e-6, rtol=0)


def test_copies_and_pickles(attention, tokens):
    expected = attention(tokens, {'class_attention'})[1]['class_attention']
    for twin in (copy.deepcopy(attention), pickle.loads(pickle.dumps(attention))):
        assert torch.equal(twin(tokens, {'class_attention'})[1]['class_attention'], expected)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match='embed_dims: expected a multiple of num_heads=5, got 24'):
        TokenAttention(24, 5)
    with pytest.raises(ValueError, match='v_shortcut'):
        TokenAttention(24, 3, v_shortcut=True)


def test_another_attention_class_needs_one_line(tokens):
    class Uniform(TokenAttention):
        def attention_weights(self, query, key):
            return torch.full((*query.shape[:3], key.shape[2]), 1 / key.shape[2])

    class Layer(TokenEncoderLayer):
        attention_class = Uniform

    _, maps = Layer(24, 3, 48)(tokens.float(), {'class_attention'})
    assert torch.equal(maps['class_attention'], torch.full((2, 3, 11), 1 / 11))


def test_branches_are_dropped_independently():
    layer = TokenEncoderLayer(24, 3, 48, drop_path_rate=0.5).train()
    x = torch.randn(1, 5, 24).expand(512, -1, -1)
    attended = layer.attn(layer.ln1(x))[0]
    # What is added to x by the attention branch alone: 0, or twice the branch.
    torch.testing.assert_close(attended.abs().amax(dim=(1, 2)).unique().numel(), 2)
    out, _ = layer(x)
    outcomes = torch.round(out[:, 0, :4] * 1e4).unique(dim=0)
    assert len(outcomes) == 4, 'each branch is either kept or dropped: four outcomes'


def test_initialisation_is_deits():
    layer = TokenEncoderLayer(96, 3, 384)
    layer.init_weights()
    for linear in (layer.attn.qkv, layer.attn.proj, layer.ffn.layers[0][0], layer.ffn.layers[1]):
        assert abs(linear.weight.std().item() - 0.02) < 1e-3
        assert not linear.bias.any()
    assert torch.equal(layer.ln1.weight, torch.ones(96))
