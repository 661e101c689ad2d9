"""Tests of the names of LCTR's checkpoints (docs/specifications/lctr.md, section 2.4)."""

from wsol_mm.models.weights import convert_state_dict, load_pretrained
from wsol_mm.registry import MODELS

import pytest
import torch

WIDTH, DEPTH, CLASSES = 24, 3, 7


@pytest.fixture
def model() -> torch.nn.Module:
    arch = dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=2, feedforward_channels=4 * WIDTH)
    return MODELS.build(
        dict(
            type='ImageLocalizer',
            backbone=dict(type='RelationalTransformer', arch=arch, img_size=56, patch_size=4),
            head=dict(type='LCTRHead', num_classes=CLASSES, in_channels=WIDTH),
        )
    )


def linear(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.weight': (outputs, inputs), f'{name}.bias': (outputs,)}


def norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f'{name}.weight': (WIDTH,), f'{name}.bias': (WIDTH,)}


def official_shapes() -> dict[str, tuple[int, ...]]:
    """All entries of the official state dict, in order."""
    shapes: dict[str, tuple[int, ...]] = {
        'cls_token': (1, 1, WIDTH),
        'pos_embed': (1, 197, WIDTH),
        'patch_embed.proj.weight': (WIDTH, 3, 4, 4),
        'patch_embed.proj.bias': (WIDTH,),
    }
    for i in range(DEPTH):
        block = f'blocks.{i}'
        shapes |= norm(f'{block}.norm1') | linear(f'{block}.attn.qkv', 3 * WIDTH, WIDTH)
        shapes |= linear(f'{block}.attn.proj', WIDTH, WIDTH) | norm(f'{block}.norm2')
        shapes |= linear(f'{block}.mlp.fc1', 4 * WIDTH, WIDTH) | linear(f'{block}.mlp.fc2', WIDTH, 4 * WIDTH)
    shapes |= norm('norm')
    shapes |= {'conv3x3.weight': (WIDTH, WIDTH, 3, 3), 'conv3x3.bias': (WIDTH,)}
    shapes |= {'CDM.weight': (4, CLASSES, WIDTH, 3, 3), 'CDM.bias': (CLASSES,)}
    shapes |= linear('CDM._routing_fn_two.fc', 4, WIDTH)
    return shapes | linear('CDM._routing_fn_two.fc2', 4, WIDTH)


def official_state() -> dict[str, torch.Tensor]:
    return {name: torch.randn(shape) for name, shape in official_shapes().items()}


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.parametrize('nested', [True, False])
def test_converted_weights_arrive_at_their_places(model, prefix, nested):
    state = official_state()
    checkpoint = {prefix + name: value for name, value in state.items()}
    if nested:
        optimizer = dict(state={0: dict(step=1)}, param_groups=[])
        checkpoint = dict(
            model=checkpoint, optimizer=optimizer, lr_scheduler={}, epoch=79, scaler={}, args=None
        )
    converted = convert_state_dict('lctr', checkpoint)
    assert set(converted) == set(model.state_dict())
    model.load_state_dict(converted, strict=True)
    own = model.state_dict()
    for ours, theirs in [
        ('backbone.layers.2.ffn.layers.0.0.weight', 'blocks.2.mlp.fc1.weight'),
        ('backbone.ln1.bias', 'norm.bias'),
        ('head.cue_conv.weight', 'conv3x3.weight'),
        ('head.cdm.weight', 'CDM.weight'),
        ('head.cdm.bias', 'CDM.bias'),
        ('head.cdm.route_mean.weight', 'CDM._routing_fn_two.fc.weight'),
        ('head.cdm.route_max.weight', 'CDM._routing_fn_two.fc2.weight'),
        ('head.cdm.route_max.bias', 'CDM._routing_fn_two.fc2.bias'),
    ]:
        assert torch.equal(own[ours], state[theirs]), ours


def test_published_size():
    cfg = dict(type='LCTRHead', in_channels=384)
    for classes, parameters in ((200, 25_761_232), (1000, 36_821_232)):
        model = MODELS.build(
            dict(
                type='ImageLocalizer',
                backbone=dict(type='RelationalTransformer', arch='deit-small'),
                head=dict(cfg, num_classes=classes),
            )
        )
        assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_other_checkpoints_are_refused(model):
    state = official_state()
    plain = {name: value for name, value in state.items() if not name.startswith(('CDM', 'conv3x3'))}
    with pytest.raises(ValueError, match=r'expected a checkpoint of lctr .*, got the names cls_token'):
        convert_state_dict('lctr', plain | {'head.weight': torch.ones(7, WIDTH)})
    with pytest.raises(ValueError, match=r'expected entries of lctr alone, got head\.weight'):
        convert_state_dict('lctr', state | {'head.weight': torch.ones(7, WIDTH)})
    with pytest.raises(ValueError, match=r'with 5 dimensions of .*head\.cdm\.weight.* got 4'):
        convert_state_dict('lctr', state | {'CDM.weight': torch.ones(7, WIDTH, 3, 3)})


def test_start_from_a_classifier(model, tmp_path):
    """The reference drops the linear classifier and leaves conv3x3 and CDM random."""
    state = {name: value for name, value in official_state().items() if not name.startswith(('CDM', 'conv'))}
    state |= {'head.weight': torch.ones(CLASSES, WIDTH), 'head.bias': torch.ones(CLASSES)}
    torch.save({'model': state}, tmp_path / 'deit.pth')
    report = load_pretrained(model, tmp_path / 'deit.pth')
    assert all(name.startswith(('head.cue_conv.', 'head.cdm.')) for name in report.fresh)
    assert len(report.fresh) == 8
    assert report.skipped == ['head.weight', 'head.bias']


def test_start_from_its_own_checkpoint(model, tmp_path):
    state = official_state()
    torch.save({'model': state}, tmp_path / 'lctr.pth')
    report = load_pretrained(model, tmp_path / 'lctr.pth')
    assert not report.fresh and not report.skipped
    assert torch.equal(model.head.cdm.weight, state['CDM.weight'])
