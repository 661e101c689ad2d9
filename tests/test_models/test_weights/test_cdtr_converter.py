"""Tests of the names of CATR's and CDTR's checkpoints (docs/specifications/cdtr.md, section 2.4)."""

import argparse
import re

from wsol_mm.models.heads.catr_head import CATR_VIT
from wsol_mm.models.weights import convert_state_dict, known_layouts, load_pretrained
from wsol_mm.models.weights.layouts import Entry, find_layout, join_numbered_parts
from wsol_mm.registry import MODELS
from wsol_mm.utils.checkpoint_io import read_checkpoint

import pytest
import torch

WIDTH, DEPTH, HEADS, CLASSES, BASE, OCM_LAYERS = 24, 12, 6, 7, 4, 9
SHAPE = dict(num_classes=CLASSES, in_channels=WIDTH, num_layers=DEPTH, num_heads=HEADS)


def build(method: str, num_classes: int = CLASSES) -> torch.nn.Module:
    head = dict(SHAPE, num_classes=num_classes, csm=dict(base_channels=BASE), ocm=dict(num_layers=OCM_LAYERS))
    if method == 'cdtr':
        head['sba'] = None  # CLIP is in no checkpoint
    arch = dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=HEADS, feedforward_channels=4 * WIDTH)
    return MODELS.build(
        dict(
            type='ImageLocalizer',
            backbone=dict(type='TokenVisionTransformer', arch=arch, img_size=56, patch_size=4),
            head=dict(head, type={'catr': 'CATRHead', 'cdtr': 'CDTRHead'}[method]),
        )
    )


def linear(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.weight': (outputs, inputs), f'{name}.bias': (outputs,)}


def norm(name: str, width: int = WIDTH) -> dict[str, tuple[int, ...]]:
    return {f'{name}.weight': (width,), f'{name}.bias': (width,)}


def batch_norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    statistics = {f'{name}.{part}': (width,) for part in ('running_mean', 'running_var')}
    return norm(name, width) | statistics | {f'{name}.num_batches_tracked': ()}


def double_conv(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {
        f'{name}.UConv.0.weight': (outputs, inputs, 3, 3),
        **batch_norm(f'{name}.UConv.1', outputs),
        f'{name}.UConv.3.weight': (outputs, outputs, 3, 3),
        **batch_norm(f'{name}.UConv.4', outputs),
    }


def classifier_shapes() -> dict[str, tuple[int, ...]]:
    """Entries of DeiT before its classifier, in order."""
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
    return shapes | norm('norm')


def official_shapes(method: str, names: str = '') -> dict[str, tuple[int, ...]]:
    """All entries of an official state dict; ``names`` is the method whose names of CSM's halves it has."""
    suffix = '_1' if (names or method) == 'cdtr' else ''
    maps = DEPTH * HEADS
    shapes = classifier_shapes() | {'head.weight': (CLASSES, WIDTH, 3, 3), 'head.bias': (CLASSES,)}
    shapes |= double_conv(f'att_layer.down{suffix}.1', maps, 2 * BASE)
    shapes |= double_conv(f'att_layer.up{suffix}.conv', maps + 2 * BASE, CLASSES)
    shapes |= {'att_cls.weight': (CLASSES, CLASSES, 1, 1)}
    for layer in range(OCM_LAYERS):
        shapes |= {f'block{layer}.0.weight': (1, HEADS, 1, 1), **batch_norm(f'block{layer}.1', 1)}
    shapes |= {'block_catconv.weight': (1, OCM_LAYERS, 3, 3), **batch_norm('block_catbn', 1)}
    if method == 'cdtr':
        shapes |= {
            'dnc_att_layer.conv_offset.weight': (18, CLASSES, 3, 3),
            'dnc_att_layer.conv_offset.bias': (18,),
            'dnc_att_layer.deform_conv.weight': (CLASSES, CLASSES, 3, 3),
        }
    return shapes | {'AutomaticWeightedLoss.params': (5 if method == 'cdtr' else 4,)}


def random_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {
        name: torch.tensor(1500) if name.endswith('num_batches_tracked') else torch.rand(shape)
        for name, shape in shapes.items()
    }


def official_state(method: str, names: str = '') -> dict[str, torch.Tensor]:
    return random_state(official_shapes(method, names))


def write_official(state: dict, path) -> None:
    """As the official engine writes: the command line's arguments are a Namespace."""
    optimizer = dict(state={0: dict(step=1)}, param_groups=[dict(lr=1e-5)])
    args = argparse.Namespace(data_set='CUB', lr=5e-5, output_dir='out', decay_rate=None)
    torch.save(dict(model=state, optimizer=optimizer, lr_scheduler={}, epoch=79, scaler={}, args=args), path)


@pytest.mark.parametrize('method', ['catr', 'cdtr'])
@pytest.mark.parametrize('names', ['catr', 'cdtr'])
def test_converted_weights_arrive_at_their_places(method, names, tmp_path):
    state = official_state(method, names)
    write_official(state, tmp_path / 'official.pth')
    converted = convert_state_dict(method, read_checkpoint(tmp_path / 'official.pth'))
    model = build(method)
    assert set(converted) == set(model.state_dict())
    model.load_state_dict(converted, strict=True)
    own = model.state_dict()
    half = '_1' if names == 'cdtr' else ''
    same = [
        ('backbone.layers.11.ffn.layers.1.bias', 'blocks.11.mlp.fc2.bias'),
        ('head.semantic_conv.weight', 'head.weight'),
        ('head.csm.encoder.0.weight', f'att_layer.down{half}.1.UConv.0.weight'),
        ('head.csm.encoder.4.running_var', f'att_layer.down{half}.1.UConv.4.running_var'),
        ('head.csm.decoder.1.running_mean', f'att_layer.up{half}.conv.UConv.1.running_mean'),
        ('head.csm.decoder.3.weight', f'att_layer.up{half}.conv.UConv.3.weight'),
        ('head.csm.classifier.weight', 'att_cls.weight'),
        ('head.ocm.fuse_conv.weight', 'block_catconv.weight'),
        ('head.ocm.fuse_norm.running_mean', 'block_catbn.running_mean'),
        ('head.loss_weighting.params', 'AutomaticWeightedLoss.params'),
    ]
    if method == 'cdtr':
        same += [
            ('head.ski.offset_conv.weight', 'dnc_att_layer.conv_offset.weight'),
            ('head.ski.offset_conv.bias', 'dnc_att_layer.conv_offset.bias'),
            ('head.ski.weight', 'dnc_att_layer.deform_conv.weight'),
        ]
    for ours, theirs in same:
        assert torch.equal(own[ours], state[theirs]), ours
    for layer in range(OCM_LAYERS):
        assert torch.equal(own['head.ocm.branch_conv.weight'][layer], state[f'block{layer}.0.weight'][0])
        for part in ('weight', 'bias', 'running_mean', 'running_var'):
            assert own[f'head.ocm.branch_norm.{part}'][layer] == state[f'block{layer}.1.{part}'][0]
    assert own['head.ocm.branch_norm.num_batches_tracked'] == 1500


@pytest.mark.parametrize(
    ('method', 'classes', 'base', 'layers', 'parameters'),
    [
        ('cdtr', 200, 8, 9, 23_321_578),
        ('cdtr', 1000, 256, 10, 52_237_979),
        ('catr', 200, 8, 9, 23_321_578 - 392_418 - 1),
        ('catr', 1000, 256, 10, 52_237_979 - 9_162_018 - 1),
    ],
)
def test_published_size(method, classes, base, layers, parameters):
    head = dict(
        type={'catr': 'CATRHead', 'cdtr': 'CDTRHead'}[method],
        num_classes=classes,
        in_channels=384,
        csm=dict(base_channels=base),
        ocm=dict(num_layers=layers),
    )
    if method == 'cdtr':
        head['sba'] = None
    with torch.device('meta'):
        model = MODELS.build(
            dict(
                type='ImageLocalizer',
                backbone=dict(type='TokenVisionTransformer', arch='deit-small'),
                head=head,
            )
        )
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_missing_layers_of_ocm_are_named():
    state = {name: value for name, value in official_state('catr').items() if name != 'block3.0.weight'}
    expected = (
        'f.pth: expected a whole checkpoint of catr, got a part: head.ocm.branch_conv.weight: expected all '
        'numbered entries from 0 to 8, got none of the numbers [3], only block0.0.weight, '
    )
    with pytest.raises(ValueError, match=re.escape(expected)):
        convert_state_dict('catr', state, 'f.pth')


def test_counters_of_ocm_must_agree():
    state = official_state('cdtr') | {'block2.1.num_batches_tracked': torch.tensor(3)}
    with pytest.raises(
        ValueError, match=r'branch_norm\.num_batches_tracked: expected the same number .*block2\S+ 3'
    ):
        convert_state_dict('cdtr', state)


def test_parts_are_joined_by_number_and_must_fit():
    def part(number: int, value: torch.Tensor) -> Entry:
        return Entry(f'block{number}', f'conv.weight[{number}]', value)

    other = Entry('norm', None, torch.ones(1))
    parts = [part(number, torch.full((2, 3), float(number))) for number in (10, *range(10))]
    entries = join_numbered_parts([parts[0], other, *parts[1:]])
    assert [(entry.name, entry.target) for entry in entries] == [
        ('norm', None),
        ('block0 ... block10', 'conv.weight'),
    ]
    assert entries[1].value[:, 0].tolist() == [number for number in range(11) for _ in range(2)]
    with pytest.raises(ValueError, match=r'first axis, got block0 \(2, 3\), block1 \(2, 4\)'):
        join_numbered_parts([part(0, torch.ones(2, 3)), part(1, torch.ones(2, 4))])
    with pytest.raises(ValueError, match=r'first axis, got block0 \(2,\), block1 \(\)'):
        join_numbered_parts([part(0, torch.ones(2)), part(1, torch.tensor(1))])


def test_other_checkpoints_are_refused():
    catr, cdtr = official_state('catr'), official_state('cdtr')
    with pytest.raises(ValueError, match=r'expected a checkpoint of cdtr .*, got the names cls_token'):
        convert_state_dict('cdtr', catr)
    with pytest.raises(
        ValueError, match=r'expected entries of catr alone, got dnc_att_layer\.conv_offset\.weight, .*deform'
    ):
        convert_state_dict('catr', cdtr)
    plain = random_state(classifier_shapes() | linear('head', CLASSES, WIDTH))
    with pytest.raises(ValueError, match=r'expected a checkpoint of catr .*, got the names cls_token'):
        convert_state_dict('catr', plain)
    with pytest.raises(ValueError, match=r'with 4 dimensions of .*head\.semantic_conv\.weight.* got 2'):
        convert_state_dict('catr', catr | {'head.weight': torch.ones(CLASSES, WIDTH)})
    del cdtr['att_cls.weight'], catr['block_catconv.weight']
    with pytest.raises(ValueError, match=r'expected a checkpoint of cdtr '):
        convert_state_dict('cdtr', cdtr)
    assert find_layout(catr, known_layouts()) is CATR_VIT


@pytest.mark.parametrize('classes', [7, 5])
def test_start_from_a_classifier(classes, tmp_path):
    """The reference keeps the classifier's bias where it fits: ILSVRC's does, CUB's does not."""
    state = random_state(classifier_shapes() | linear('head', 7, WIDTH))
    torch.save({'model': state}, tmp_path / 'deit.pth')
    model = build('cdtr', classes)
    report = load_pretrained(model, tmp_path / 'deit.pth')
    head = ['head.weight'] if classes == 7 else ['head.weight', 'head.bias']
    assert [name.split()[0] for name in report.skipped] == head
    assert ('head.semantic_conv.bias' in report.fresh) == (classes == 5)
    assert all(name.startswith('head.') for name in report.fresh)
    assert torch.equal(model.head.semantic_conv.bias, state['head.bias']) == (classes == 7)


def test_cdtr_starts_from_catr(tmp_path):
    state = official_state('catr')
    write_official(state, tmp_path / 'catr.pth')
    model = build('cdtr')
    report = load_pretrained(model, tmp_path / 'catr.pth')
    assert not report.skipped
    assert sorted(report.fresh) == [
        'head.loss_weighting.params[4]',
        'head.ski.offset_conv.bias',
        'head.ski.offset_conv.weight',
        'head.ski.weight',
    ]
    expected = torch.cat((state['AutomaticWeightedLoss.params'], torch.ones(1)))
    assert torch.equal(model.head.loss_weighting.params, expected)
    assert torch.equal(model.head.ocm.branch_conv.weight[8], state['block8.0.weight'][0])


def test_catr_starts_from_cdtr(tmp_path):
    """What CATR does not have is skipped; loss weights of other losses stay fresh."""
    torch.save(build('cdtr').state_dict(), tmp_path / 'cdtr.pth')
    model = build('catr')
    report = load_pretrained(model, tmp_path / 'cdtr.pth')
    assert report.fresh == ['head.loss_weighting.params']
    assert 'head.loss_weighting.params (5,) for (4,)' in report.skipped


def test_missing_parts_in_a_start_name_the_file(tmp_path):
    state = {name: value for name, value in official_state('catr').items() if not name.startswith('block0')}
    torch.save(state, tmp_path / 'catr.pth')
    with pytest.raises(ValueError, match=r'catr\.pth: head\.ocm\.branch_conv\.weight: .*numbers \[0\]'):
        load_pretrained(build('catr'), tmp_path / 'catr.pth')
