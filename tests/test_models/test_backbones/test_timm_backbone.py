"""Tests of TimmBackbone: every family, what its transformers give, by timm's own values, and weights."""

import copy

from tests.timm_families import FAMILIES, FULL, Family
from wsol_mm.models.backbones import TimmBackbone
from wsol_mm.registry import MODELS

import pytest
import torch
from torch import Tensor, nn

TINY = dict(img_size=64, embed_dim=36, depth=3, num_heads=3)
EVA = dict(img_size=64, embed_dim=48, depth=3, num_heads=3)
WITH_CLASS = [name for name, family in FAMILIES.items() if family.gives == FULL]


def build(family: Family, **options) -> TimmBackbone:
    return TimmBackbone(family.model_name, **{**family.options, **options})


def randomized(backbone: TimmBackbone) -> TimmBackbone:
    """Return it with weights that make its attention uneven, in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    for parameter in backbone.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return backbone.eval()


@pytest.mark.parametrize('name', FAMILIES)
def test_family(name):
    family = FAMILIES[name]
    backbone = build(family).eval()
    images = torch.randn(2, 3, *family.size)
    assert backbone.gives == family.gives
    assert backbone.num_features == family.channels
    with torch.no_grad():
        feats = backbone(images, family.gives)
        expected = backbone.model.forward_features(images)
    assert feats.feature_map.shape == (2, family.channels, *family.grid)
    assert feats.patch_start == family.prefix
    if expected.dim() == 3:
        patches = expected[:, family.prefix :].transpose(1, 2)
        torch.testing.assert_close(feats.feature_map, patches.unflatten(2, family.grid), rtol=0, atol=0)
    elif name == 'Swin':
        torch.testing.assert_close(feats.feature_map, expected.permute(0, 3, 1, 2), rtol=0, atol=0)
    else:
        torch.testing.assert_close(feats.feature_map, expected, rtol=0, atol=0)
    if 'cls_token' in family.gives:
        torch.testing.assert_close(feats.cls_token, expected[:, 0], rtol=0, atol=0)
    else:
        assert feats.cls_token is None
    for lacking in FULL - family.gives:
        with pytest.raises(ValueError, match=rf"expected a backbone that gives \['{lacking}'\], got Timm"):
            backbone(images, {lacking})
    # Distributed training allows no parameter that waits for a gradient in vain.
    backbone.train()(images).feature_map.square().sum().backward()
    trained = {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}


def test_a_stage_called_head_before_the_pooling_is_trained():
    backbone = TimmBackbone('selecsls42')
    assert all(parameter.requires_grad for parameter in backbone.model.head.parameters())


def explicit_attention(backbone: TimmBackbone, images: Tensor) -> Tensor:
    """Return timm's own attention of all layers, (B, L, H, N, N), without fused kernels."""
    seen, handles = [], []
    for block in backbone.model.blocks:
        block.attn.fused_attn = False
        handles.append(block.attn.attn_drop.register_forward_pre_hook(lambda _, args: seen.append(args[0])))
    backbone.model.forward_features(images)
    for handle in handles:
        handle.remove()
    return torch.stack(seen, dim=1)


KINDS = {
    **{name: (FAMILIES[name].model_name, FAMILIES[name].options) for name in WITH_CLASS},
    'normalised queries and keys': ('vit_tiny_patch16_224', {**TINY, 'qk_norm': True}),
    'without biases': ('vit_tiny_patch16_224', {**TINY, 'qkv_bias': False}),
    'wide heads': ('vit_tiny_patch16_224', {**TINY, 'scale_attn_norm': True}),
    'Eva with three projections': ('vit_small_patch16_dinov3_qkvb', {**EVA, 'qkv_fused': False}),
    'Eva with normalised keys': ('vit_small_patch16_dinov3', {**EVA, 'qk_norm': True}),
    'RoPE of every layer': ('vit_base_patch16_rope_mixed_224', EVA),
    'RoPE attention': ('vit_small_patch16_dinov3', {**EVA, 'attn_type': 'rope'}),
    'shared keys': (
        'vit_small_patch16_dinov3',
        {**EVA, 'attn_type': 'rope', 'qkv_fused': False, 'num_kv_heads': 1},
    ),
}


@pytest.mark.parametrize('kind', KINDS)
def test_class_attention_is_the_row_of_timms_attention(kind):
    name, options = KINDS[kind]
    backbone = randomized(TimmBackbone(name, **options))
    side = backbone.patch_size[0]
    images = torch.randn(2, 3, 3 * side, 5 * side)
    with torch.no_grad():
        feats = backbone(images, {'class_attention'})
        expected = explicit_attention(backbone, images)[:, :, :, 0]
    assert feats.class_attention.shape == expected.shape
    assert expected.std() > 0.05, 'an even attention shows nothing'
    torch.testing.assert_close(feats.class_attention, expected, atol=1e-5, rtol=1e-4)
    assert feats.on_grid(feats.class_attention).shape[-2:] == (3, 5)


@pytest.mark.parametrize('kind', KINDS)
def test_projections_are_what_the_last_attention_uses(kind):
    name, options = KINDS[kind]
    backbone = randomized(TimmBackbone(name, **options))
    attention, start = backbone.model.blocks[-1].attn, backbone.num_prefix_tokens
    seen = {}
    for norm in ('q_norm', 'k_norm'):
        module = getattr(attention, norm)
        module.register_forward_pre_hook(lambda _, args, norm=norm: seen.update({norm: args[0]}))
    side = backbone.patch_size[0]
    with torch.no_grad():
        # Fused attention shows queries and keys on their way to the norm, which may be the identity.
        backbone.model.forward_features(images := torch.randn(2, 3, 3 * side, 5 * side))
        queries, keys = (seen[norm].transpose(1, 2).flatten(2)[:, start:] for norm in ('q_norm', 'k_norm'))
        feats = backbone(images, {'queries', 'keys'})
    torch.testing.assert_close(feats.require('queries'), queries, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(feats.require('keys'), keys, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('name', ['DINOv2', 'DINOv3', 'SigLIP'])
def test_values_and_attention_make_the_output_of_the_attention(name):
    backbone = randomized(build(FAMILIES[name]))
    attention, images = backbone.model.blocks[-1].attn, torch.randn(2, 3, *FAMILIES[name].size)
    seen = []
    attention.proj.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        values = backbone(images, {'values'}).require('values')
        rows = explicit_attention(backbone, images)[:, -1]
        if name == 'SigLIP':
            expected = rows @ values.unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
            torch.testing.assert_close(seen[0], expected.transpose(1, 2).flatten(2), atol=1e-5, rtol=1e-4)
            return
        # With a value for the prefix tokens, whatever it is, the rest is a sum over the patches.
        start, heads = backbone.num_prefix_tokens, (attention.num_heads, -1)
        bias = attention.q_bias.new_zeros(0) if name == 'DINOv3' else attention.qkv.bias.chunk(3)[2]
        bias = attention.v_bias if name == 'DINOv3' else bias
        tokens = []
        hook = attention.register_forward_pre_hook(
            lambda _, args, __: tokens.append(args[0]), with_kwargs=True
        )
        backbone.model.forward_features(images)
        hook.remove()
        prefix = nn.functional.linear(tokens[0][:, :start], attention.qkv.weight.chunk(3)[2], bias)
        whole = torch.cat((prefix, values), dim=1).unflatten(2, heads).transpose(1, 2)
    torch.testing.assert_close(seen[0], (rows @ whole).transpose(1, 2).flatten(2), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('name', [name for name, family in FAMILIES.items() if 'keys' in family.gives])
def test_tokens_before_the_norm(name):
    backbone = randomized(build(FAMILIES[name]))
    needs = {'pre_norm_map', 'pre_norm_cls_token'} & backbone.gives
    with torch.no_grad():
        feats = backbone(torch.randn(2, 3, *FAMILIES[name].size), needs)
        normed = backbone.model.norm(feats.require('pre_norm_map').permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        torch.testing.assert_close(feats.feature_map, normed)
        if 'pre_norm_cls_token' in needs:
            token = feats.require('pre_norm_cls_token')
            torch.testing.assert_close(feats.cls_token, backbone.model.norm(token))
    assert set(feats.extras) == needs, 'something was computed that nobody asked for'


def test_pooled():
    backbone = randomized(build(FAMILIES['SigLIP']))
    images = torch.randn(2, 3, *FAMILIES['SigLIP'].size)
    with torch.no_grad():
        pooled = backbone(images, {'pooled'}).require('pooled')
        torch.testing.assert_close(
            pooled, backbone.model.forward_head(backbone.model.forward_features(images))
        )


def test_the_last_layers_alone():
    images = torch.randn(2, 3, 48, 80)
    every = randomized(TimmBackbone('vit_tiny_patch16_224', **TINY))
    last = TimmBackbone('vit_tiny_patch16_224', attention_layers=2, **TINY).eval()
    last.load_state_dict(every.state_dict())
    rows = last(images, {'class_attention'}).class_attention
    torch.testing.assert_close(rows, every(images, {'class_attention'}).class_attention[:, 1:])
    for wrong in (0, 4):
        with pytest.raises(ValueError, match=f'attention_layers: expected .* from 1 to 3, got {wrong}'):
            TimmBackbone('vit_tiny_patch16_224', attention_layers=wrong, **TINY)


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('vit_relpos_base_patch16_cls_224', TINY),  # adds a bias for relative positions
        ('vit_tiny_patch16_224', dict(TINY, attn_layer='diff')),  # subtracts a second attention
    ],
)
def test_attention_of_another_kind_is_not_guessed(name, options):
    backbone = TimmBackbone(name, **options)
    assert backbone.gives == {'cls_token', 'pre_norm_cls_token', 'pre_norm_map'}


def test_registers_without_a_class_token():
    backbone = TimmBackbone('vit_medium_patch16_rope_reg1_gap_256', **EVA).eval()
    assert backbone.gives == {'pre_norm_map', 'queries', 'keys', 'values'}
    feats = backbone(torch.randn(1, 3, 64, 64), {'keys'})
    assert feats.patch_start == 1 and feats.cls_token is None
    assert feats.require('keys').shape == (1, 16, 48)


@pytest.mark.parametrize(
    ('name', 'options'),
    [('test_vit_relpos', {}), ('eva02_tiny_patch14_224', dict(EVA, img_size=56, class_token=False))],
)
def test_models_without_prefix_tokens(name, options):
    backbone = TimmBackbone(name, **options).eval()
    size = backbone.data_config['input_size']
    feats = backbone(torch.randn(1, 3, *size), {'pre_norm_map'})
    assert feats.cls_token is None
    assert feats.feature_map.shape == feats.require('pre_norm_map').shape


def test_models_with_several_last_maps_are_refused():
    backbone = TimmBackbone('crossvit_tiny_240')
    with pytest.raises(
        ValueError, match='model_name: expected a model with one last .* got CrossVit, .* in 2'
    ):
        backbone(torch.randn(1, 3, 240, 240))


@pytest.mark.parametrize('name', ['DINOv2 with registers', 'DINOv3'])
def test_gradients_reach_the_first_layer_through_the_attention(name):
    backbone = build(FAMILIES[name], init_values=1.0).train()
    images = torch.randn(2, 3, *FAMILIES[name].size)
    feats = backbone(images, {'class_attention', 'keys'})
    (feats.class_attention[:, -1, :, -1].sum() + feats.require('keys').square().sum()).backward()
    gradient = backbone.model.patch_embed.proj.weight.grad
    assert gradient.isfinite().all() and gradient.abs().sum() > 0


@pytest.mark.parametrize('name', ['DINOv2 with registers', 'DINOv3'])
def test_bfloat16(name):
    backbone = build(FAMILIES[name], init_values=1.0).train()
    images = torch.randn(2, 3, *FAMILIES[name].size)
    exact = backbone(images, {'class_attention'})
    with torch.autocast('cpu', dtype=torch.bfloat16):
        feats = backbone(images, {'class_attention', 'keys'})
        loss = feats.class_attention.square().sum() + feats.feature_map.float().square().mean()
    loss.backward()
    assert feats.class_attention.dtype == torch.float32
    torch.testing.assert_close(feats.class_attention, exact.class_attention, atol=5e-3, rtol=0)
    sums = feats.class_attention.sum(dim=-1)
    torch.testing.assert_close(sums, torch.ones_like(sums))
    assert all(p.grad.isfinite().all() for p in backbone.parameters() if p.grad is not None)
    half = backbone.eval().to(torch.bfloat16)(images.bfloat16(), {'class_attention'})
    assert half.class_attention.dtype == torch.float32 and half.feature_map.dtype == torch.bfloat16
    torch.testing.assert_close(half.class_attention, exact.class_attention, atol=2e-2, rtol=0)


@pytest.mark.parametrize('name', ['DINOv2 with registers', 'DINOv3'])
def test_gradient_checkpointing_changes_nothing(name):
    plain = randomized(build(FAMILIES[name]))
    twin = copy.deepcopy(plain)
    twin.model.set_grad_checkpointing()
    images = torch.randn(2, 3, *FAMILIES[name].size)
    gradients = []
    for backbone in (plain, twin.train()):
        feats = backbone(images, {'class_attention'})
        (feats.class_attention.square().sum() + feats.feature_map.square().mean()).backward()
        gradients.append(backbone.model.patch_embed.proj.weight.grad)
    torch.testing.assert_close(*gradients)


def hooks_of(model: nn.Module) -> int:
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.modules())


def test_hooks_are_gone_after_a_run_and_after_an_error(monkeypatch):
    backbone = build(FAMILIES['DINOv2'])
    images = torch.randn(1, 3, *FAMILIES['DINOv2'].size)
    backbone(images, {'class_attention', 'keys'})
    assert hooks_of(backbone) == 0

    def fail(*args, **kwargs):
        assert hooks_of(backbone) == 2
        raise RuntimeError('out of memory')

    monkeypatch.setattr(backbone.model.blocks[1], 'forward', fail)
    with pytest.raises(RuntimeError, match='out of memory'):
        backbone(images, {'class_attention'})
    assert hooks_of(backbone) == 0


def test_nothing_is_watched_that_nobody_asked_for(monkeypatch):
    backbone = build(FAMILIES['DINOv2'])
    original = backbone.model.blocks[1].forward

    def check(*args, **kwargs):
        assert hooks_of(backbone) == 0
        return original(*args, **kwargs)

    monkeypatch.setattr(backbone.model.blocks[1], 'forward', check)
    assert backbone(torch.randn(1, 3, *FAMILIES['DINOv2'].size)).class_attention is None


def test_a_copy_watches_its_own_modules():
    backbone = randomized(build(FAMILIES['DINOv2'], position_interpolation='dinov2'))
    twin = copy.deepcopy(backbone)
    images = torch.randn(1, 3, *FAMILIES['DINOv2'].size)
    for parameter in backbone.parameters():
        parameter.data.zero_()
    assert twin(images, {'class_attention'}).class_attention.std() > 0.01


def test_compiled():
    backbone = build(FAMILIES['DINOv3']).eval()
    images = torch.randn(2, 3, *FAMILIES['DINOv3'].size)
    needs = frozenset({'class_attention', 'keys'})
    with torch.no_grad():
        expected = backbone(images, needs)
        found = torch.compile(backbone, backend='eager')(images, needs)
    torch.testing.assert_close(found.feature_map, expected.feature_map)
    torch.testing.assert_close(found.class_attention, expected.class_attention)
    torch.testing.assert_close(found.require('keys'), expected.require('keys'))


def test_size_of_the_images():
    backbone = TimmBackbone('vit_tiny_patch16_224', **{**TINY, 'patch_size': (16, 8)})
    assert backbone.patch_size == (16, 8)
    assert backbone(torch.randn(1, 3, 48, 24)).grid == (3, 3)
    with pytest.raises(ValueError, match=r'inputs: .* multiples of \(16, 8\), got \(1, 3, 40, 24\)'):
        backbone(torch.randn(1, 3, 40, 24))
    padded = TimmBackbone('vit_tiny_patch16_224', dynamic_img_pad=True, **TINY)
    assert padded(torch.randn(1, 3, 40, 24)).grid == (3, 2)


@pytest.mark.parametrize(
    ('name', 'mean', 'std', 'size'),
    [
        ('vit_small_patch14_dinov2.lvd142m', (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), (64, 64)),
        ('vit_base_patch16_siglip_224.v2_webli', (127.5,) * 3, (127.5,) * 3, (64, 64)),
        ('vit_base_patch14_reg1_tipsv2.webli', (0.0,) * 3, (255.0,) * 3, (64, 64)),
        ('test_resnet', (127.5,) * 3, (127.5,) * 3, (160, 160)),
        ('test_maxvit', (127.5,) * 3, (127.5,) * 3, (96, 96)),
    ],
)
def test_data_config(name, mean, std, size):
    small = dict(TINY, patch_size=16)
    options = {'test_resnet': {}, 'test_maxvit': dict(img_size=96)}.get(name, small)
    backbone = TimmBackbone(name, **options)
    assert backbone.data_config['mean'] == pytest.approx(mean)
    assert backbone.data_config['std'] == pytest.approx(std)
    assert backbone.data_config['input_size'] == size
    head = dict(type='CAMHead', num_classes=3, in_channels=backbone.num_features)
    model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head))
    torch.testing.assert_close(model.data_preprocessor.mean.flatten(), torch.tensor(mean))


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('deit_tiny_distilled_patch16_224', TINY),
        ('eva02_tiny_patch14_224', dict(EVA, img_size=56)),
        ('vit_tiny_patch16_224', dict(TINY, dynamic_img_size=False)),
        ('test_resnet', {}),
    ],
)
def test_positions_of_dinov2_where_they_have_no_place(name, options):
    with pytest.raises(ValueError, match="position_interpolation: expected 'timm' for .*, got 'dinov2'"):
        TimmBackbone(name, position_interpolation='dinov2', **options)


def test_positions_of_dinov2_on_their_own_grid_and_on_another():
    plain = randomized(build(FAMILIES['DINOv2 with registers']))
    other = build(FAMILIES['DINOv2 with registers'], position_interpolation='dinov2').eval()
    other.load_state_dict(plain.state_dict())
    with torch.no_grad():
        same, larger = torch.randn(1, 3, 56, 56), torch.randn(1, 3, 70, 84)
        torch.testing.assert_close(other(same).feature_map, plain(same).feature_map)
        assert (other(larger).feature_map - plain(larger).feature_map).abs().max() > 1e-3
    with pytest.raises(ValueError, match="position_interpolation: expected one of .* got 'dino'"):
        build(FAMILIES['DINOv2'], position_interpolation='dino')


# ------------------------------------------------------------------ weights


def test_init_weights_leaves_what_timm_initialised():
    backbone = TimmBackbone('vit_tiny_patch16_224', **TINY)
    before = copy.deepcopy(backbone.state_dict())
    backbone.init_weights()
    for name, value in backbone.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
