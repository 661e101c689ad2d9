"""Published checkpoints of SCM: names, nesting and prefix as in docs/specifications/scm.md, section 2.6."""

from wsol_mm.models.weights import convert_state_dict, load_pretrained
from wsol_mm.registry import MODELS

import pytest
import torch

BACKBONES = {
    'deit': dict(type='TokenVisionTransformer', arch='deit-tiny'),
    'vit-s': dict(
        type='TokenVisionTransformer',
        arch=dict(embed_dims=768, num_layers=8, num_heads=8, feedforward_channels=2304),
    ),
    'conformer': dict(
        type='TokenConformer', arch=dict(embed_dims=24, depths=12, num_heads=2, channel_ratio=0.25)
    ),
}


def block(prefix: str, width: int, hidden: int) -> dict[str, torch.Size]:
    sizes = {'norm1': (), 'attn.qkv': (3 * width, width), 'attn.proj': (width, width), 'norm2': ()}
    sizes |= {'mlp.fc1': (hidden, width), 'mlp.fc2': (width, hidden)}
    names = {}
    for name, size in sizes.items():
        names[f'{prefix}.{name}.weight'] = size or (width,)
        names[f'{prefix}.{name}.bias'] = (size[0] if size else width,)
    return names


def vit_names(width: int, depth: int, hidden: int, classes: int) -> dict[str, tuple]:
    names = {'cls_token': (1, 1, width), 'pos_embed': (1, 197, width)}
    names |= {'patch_embed.proj.weight': (width, 3, 16, 16), 'patch_embed.proj.bias': (width,)}
    for index in range(depth):
        names |= block(f'blocks.{index}', width, hidden)
    names |= {'norm.weight': (width,), 'norm.bias': (width,)}
    names |= {'head.weight': (classes, width, 3, 3), 'head.bias': (classes,)}
    return names | scalars()


def scalars() -> dict[str, tuple]:
    return {f'layers.{i}.{name}': (1,) for i in range(4) for name in ('thred', 'fuse._loss_rate')}


def wrapped(names: dict[str, tuple]) -> dict:
    generator = torch.Generator().manual_seed(0)
    state = {f'module.{name}': torch.randn(size, generator=generator) for name, size in names.items()}
    return dict(epoch=3, state_dict=state, best_map=0.5)


def build(backbone: str, width: int, **head) -> torch.nn.Module:
    head = dict(type='SCMHead', num_classes=5, in_channels=width, **head)
    return MODELS.build(dict(type='ImageLocalizer', backbone=BACKBONES[backbone], head=head))


@pytest.mark.parametrize(
    ('backbone', 'width', 'depth', 'hidden'), [('deit', 192, 12, 768), ('vit-s', 768, 8, 2304)]
)
def test_transformer(backbone, width, depth, hidden):
    checkpoint = wrapped(vit_names(width, depth, hidden, 5))
    model = build(backbone, width)
    model.load_state_dict(convert_state_dict('scm', checkpoint), strict=True)
    state = checkpoint['state_dict']
    layer = model.head.calibration.layers[2]
    assert torch.equal(layer.threshold, state['module.layers.2.thred'])
    assert torch.equal(layer.similarity_scale, state['module.layers.2.fuse._loss_rate'])
    assert torch.equal(model.head.semantic_conv.weight, state['module.head.weight'])
    assert torch.equal(model.backbone.layers[1].attn.qkv.bias, state['module.blocks.1.attn.qkv.bias'])


def test_conformer():
    """Shapes are the model's own; the names are written as the specification has them."""
    model = build('conformer', 24, conv_channels=64, conv_init='kaiming')
    names = {}
    for ours, value in model.state_dict().items():
        name = ours.removeprefix('backbone.').replace('.ffn.layers.0.0.', '.mlp.fc1.')
        name = name.replace('.ffn.layers.1.', '.mlp.fc2.').replace('head.semantic_conv', 'trans_cls_head')
        if 'trans_1' in name or 'trans_block' in name:
            name = name.replace('.ln1.', '.norm1.').replace('.ln2.', '.norm2.')
        name = name.replace('head.conv_fc', 'conv_cls_head').replace('head.calibration.', '')
        name = name.replace('.threshold', '.thred').replace('.similarity_scale', '.fuse._loss_rate')
        names[name] = tuple(value.shape)
    assert {*scalars(), 'conv1.weight', 'trans_patch_conv.bias', 'trans_norm.weight'} <= set(names)
    checkpoint = wrapped(names)
    model.load_state_dict(convert_state_dict('scm', checkpoint), strict=True)
    layer = model.head.calibration.layers[0]
    assert torch.equal(layer.threshold, checkpoint['state_dict']['module.layers.0.thred'])


def test_other_checkpoints_are_refused():
    names = vit_names(192, 1, 768, 5)
    with pytest.raises(ValueError, match='expected entries of ts-cam alone, got layers.0.thred'):
        convert_state_dict('ts-cam', wrapped(names))
    plain = {name: size for name, size in names.items() if not name.startswith('layers.')}
    with pytest.raises(ValueError, match='expected a checkpoint of scm '):
        convert_state_dict('scm', wrapped(plain))


def test_vit_small_starts_from_a_linear_patch_embedding_without_bias(tmp_path):
    """The file of the first timm releases; what it lacks keeps its start, 0 for the biases of q, k, v."""
    names = {name: size for name, size in vit_names(768, 8, 2304, 1000).items() if 'qkv.bias' not in name}
    names = {name: size for name, size in names.items() if not name.startswith('layers.')}
    names |= {'patch_embed.proj.weight': (768, 768), 'head.weight': (1000, 768)}
    state = {name: torch.randn(size) for name, size in names.items()}
    torch.save(state, tmp_path / 'vit.pth')
    model = build('vit-s', 768)
    model.init_weights()
    load_pretrained(model, tmp_path / 'vit.pth')
    expected = state['patch_embed.proj.weight'].reshape(768, 3, 16, 16)
    assert torch.equal(model.backbone.patch_embed.projection.weight, expected)
    assert not any(layer.attn.qkv.bias.any() for layer in model.backbone.layers)
