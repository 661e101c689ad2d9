"""The image tower of CLIP: plain features as open_clip's, GEM's path, and what it refuses."""

import copy

from tests.clip_samples import RANDOM_CLIP
from wsol_mm.models.backbones import CLIPVisionTransformer
from wsol_mm.models.clip import FrozenCLIP

import open_clip
import pytest
import torch
from torch import nn

VISION = dict(layers=3, width=16, head_width=8, patch_size=8, image_size=32)


def clip_of(**vision) -> dict:
    """Return the arguments of a CLIP model with random weights."""
    return dict(model={**RANDOM_CLIP['model'], 'vision_cfg': {**VISION, **vision}}, pretrained=None)


def build(depth=3, clip=None, **options) -> CLIPVisionTransformer:
    backbone = CLIPVisionTransformer(clip or clip_of(), depth=depth, **options).eval()
    torch.manual_seed(1)
    for parameter in backbone.parameters():  # as they are initialised, all attention is nearly even
        nn.init.normal_(parameter, std=0.5)
    return backbone.requires_grad_(False)


def test_plain_features_are_open_clips():
    backbone, images = build(), torch.randn(2, 3, 32, 32)
    feats = backbone(images, {'cls_token'})
    torch.testing.assert_close(feats.cls_token, backbone.visual(images), atol=1e-5, rtol=1e-4)
    backbone.visual.output_tokens = True
    _, tokens = backbone.visual(images)  # before the projection
    expected = (tokens @ backbone.visual.proj).transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(feats.feature_map, expected, atol=1e-5, rtol=1e-4)
    assert dict(feats.extras) == {} and feats.patch_start == 1


def test_positions_of_another_grid():
    """The table is resized as an image is, with antialias, and the class token keeps its own."""
    backbone, images = build(), torch.randn(1, 3, 16, 48)
    visual = backbone.visual
    table = visual.positional_embedding[1:].T.unflatten(1, (4, 4))[None]
    resized = nn.functional.interpolate(table, (2, 6), mode='bicubic', antialias=True)[0].flatten(1).T
    larger = copy.deepcopy(visual)
    larger.positional_embedding = nn.Parameter(torch.cat((visual.positional_embedding[:1], resized)))
    feats = backbone(images, {'gem_map'})
    torch.testing.assert_close(feats.cls_token, larger(images), atol=1e-5, rtol=1e-4)
    assert feats.feature_map.shape == feats.require('gem_map').shape == (1, 8, 2, 6)


def explicit_gem(backbone, images, blocks, temperature=None):
    """Return the patches of the second path of the last blocks, from open_clip's own modules."""
    visual = backbone.visual
    x, g = visual._embeds(images), None
    for index, block in enumerate(visual.transformer.resblocks):
        if index >= len(visual.transformer.resblocks) - blocks:
            h = block.ln_1(x)
            q, k, v = (h @ block.attn.in_proj_weight.T + block.attn.in_proj_bias).chunk(3, dim=-1)
            parts = []
            for head in range(2):
                columns = slice(8 * head, 8 * head + 8)
                t = (
                    8**-0.5 * h.norm(dim=-1).mean(dim=1)[:, None, None]
                    if temperature is None
                    else temperature
                )
                outputs = []
                for u in (v, k, q):
                    u = u[..., columns]
                    u = u / u.norm(dim=-1, keepdim=True)
                    u = (t * u @ u.mT).softmax(dim=-1) @ u
                    u = u / u.norm(dim=-1, keepdim=True)
                    outputs.append((t * u @ u.mT).softmax(dim=-1) @ v[..., columns])
                parts.append(sum(outputs) / 3)
            g = (x if g is None else g) + block.ls_1(block.attn.out_proj(torch.cat(parts, dim=-1)))
        x = block(x)
    return (visual.ln_post(g) @ visual.proj)[:, 1:].mT.unflatten(2, (4, 4))


@pytest.mark.parametrize('temperature', [None, 3.0])
@pytest.mark.parametrize('depth', [2, 3, 4])
def test_second_path(depth, temperature):
    """``depth - 1`` blocks have it."""
    backbone, images = (
        build(depth, clip_of(ls_init_value=0.7), ss_attn_temp=temperature),
        torch.randn(2, 3, 32, 32),
    )
    expected = explicit_gem(backbone, images, depth - 1, temperature)
    found = backbone(images, {'gem_map'}).require('gem_map')
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    alone = backbone(images[1:], {'gem_map'}).require('gem_map')
    torch.testing.assert_close(alone, found[1:], atol=1e-4, rtol=1e-4)


def test_facts_of_the_weights():
    backbone = build()
    assert backbone.data_config['input_size'] == (32, 32) and backbone.patch_size == (8, 8)
    assert backbone.num_features == 8 and backbone.gives == {'cls_token', 'gem_map'}
    mean = [255 * value for value in open_clip.OPENAI_DATASET_MEAN]
    assert list(backbone.data_config['mean']) == pytest.approx(mean)


def test_weights_stay_as_they_are():
    backbone = build()
    before = copy.deepcopy(backbone.state_dict())
    backbone.init_weights()
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(depth=1), 'depth: expected an integer from 2 to 4, got 1'),
        (dict(depth=5), 'depth: expected an integer from 2 to 4, got 5'),
        (dict(ss_attn_iter=-1), 'ss_attn_iter: expected an integer from 0, got -1'),
        (dict(ss_attn_temp=0.0), 'ss_attn_temp: expected a number above 0 or None, got 0.0'),
        (dict(sources=()), r'sources: expected some of .*, each once, got \(\)'),
        (dict(sources=('keys', 'keys')), r"each once, got \('keys', 'keys'\)"),
        (dict(sources=('v',)), r"expected some of \('values', 'keys', 'queries'\), each once, got \('v',\)"),
    ],
)
def test_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize(
    ('model', 'reason'),
    [
        ('RN50', "got 'RN50', whose image tower is a ResNet"),
        ('ViT-B-16-SigLIP', "got 'ViT-B-16-SigLIP', whose image tower is the model .* of timm"),
        (clip_of(pool_type='avg')['model'], 'got a config, whose image tower does not describe the image by'),
        (clip_of(qk_norm=True)['model'], 'got a config, whose image tower has blocks of its own'),
    ],
)
def test_other_towers_are_refused_before_weights_are_looked_for(model, reason, monkeypatch):
    monkeypatch.setattr(FrozenCLIP, 'load', lambda self: pytest.fail('weights were loaded'))
    with pytest.raises(
        ValueError, match=rf'model.backbone.clip.model: expected .*ViT-B-16-quickgelu.*{reason}'
    ):
        CLIPVisionTransformer(dict(model=model, pretrained='openai'))


def test_inputs():
    with pytest.raises(ValueError, match=r'inputs: expected .* multiples of \(8, 8\), got \(1, 3, 32, 36\)'):
        build()(torch.zeros(1, 3, 32, 36))
    with pytest.raises(ValueError, match='keys'):
        build()(torch.zeros(1, 3, 32, 32), {'keys'})
