"""Cases as others may write them: other frames, architectures, precisions and wordings of the description."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

from tests.parity.case import Case
from tests.parity.comparison import _limits, as_array
from tests.parity.description import every, shape_in
from tests.parity.engine import check, find_check

import numpy as np
import pytest
import torch

COMMITTED = Path(__file__).resolve().parents[1] / 'data' / 'parity'
RECIPE = (
    'value = 0.02*standard_normal(shape) as float32 from PCG64(crc32(official name)); norm weights 1 + value;'
    ' *.running_var 1 + abs(value); *.thred 0.5 + value; integer buffers unchanged'
)
TOLERANCES = {
    'ts_cam': {'atol': 1e-5, 'rtol': 1e-5},
    'scm': 'float32 1e-5*max|b| up to F0; 1e-4*max|b| for the rest; float64 1e-8*max|b|',
    'sat': {'out': 'abs 1e-5', 'grad': '1e-4 * max|reference| + 1e-7'},
    'lctr': {'atol': 1e-5, 'rtol': 1e-4, 'grad': '1e-4 of the largest', 'boxes': '+-1 pixel'},
    'cdtr': {'forward': 'abs 1e-5 + 2e-5 of the largest', 'losses': 'abs 1e-5', 'grad': '1e-4 * max + 1e-6'},
}


def transformer(width: int, depth: int, patch: int, side: int, hidden: int) -> dict[str, list[int]]:
    """Return official names and shapes of a transformer."""
    shapes = {
        'cls_token': [1, 1, width],
        'pos_embed': [1, (side // patch) ** 2 + 1, width],
        'patch_embed.proj.weight': [width, 3, patch, patch],
        'patch_embed.proj.bias': [width],
    }
    for index in range(depth):
        block = f'blocks.{index}.'
        for norm in ('norm1', 'norm2'):
            shapes |= {f'{block}{norm}.weight': [width], f'{block}{norm}.bias': [width]}
        layers = (('attn.qkv', width, 3 * width), ('attn.proj', width, width))
        for name, inner, outer in (*layers, ('mlp.fc1', width, hidden), ('mlp.fc2', hidden, width)):
            shapes |= {f'{block}{name}.weight': [outer, inner], f'{block}{name}.bias': [outer]}
    return shapes | {'norm.weight': [width], 'norm.bias': [width]}


def conformer(width: int, depth: int, classes: int) -> dict[str, list[int]]:
    """Return official names and shapes of a Conformer with SCM's head, by the names used here."""
    from wsol_mm.registry import MODELS

    arch = dict(embed_dims=width, depths=depth, num_heads=3, channel_ratio=0.25)
    head = dict(type='SCMHead', num_classes=classes, in_channels=width, iterations=[4] * 4, conv_channels=64)
    backbone = dict(type='TokenConformer', arch=arch, mlp_ratio=2.0)
    model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head))
    renamed = (
        (r'^backbone\.', ''),
        (r'\.ln([12])\.', r'.norm\1.'),
        (r'\.ffn\.layers\.0\.0\.', '.mlp.fc1.'),
        (r'\.ffn\.layers\.1\.', '.mlp.fc2.'),
        (r'^head\.semantic_conv', 'trans_cls_head'),
        (r'^head\.conv_fc', 'conv_cls_head'),
        (r'^head\.calibration\.(layers\.\d)\.threshold', r'\1.thred'),
        (r'^head\.calibration\.(layers\.\d)\.similarity_scale', r'\1.fuse._loss_rate'),
    )
    shapes = {}
    for name, value in model.state_dict().items():
        for pattern, replacement in renamed:
            name = re.sub(pattern, replacement, name)
        shapes[name] = list(value.shape)
    return shapes


def scm_shapes(side: int) -> dict[str, list[int]]:
    head = {'head.weight': [6, 48, 3, 3], 'head.bias': [6]}
    scalars = {f'layers.{i}.{name}': [1] for i in range(4) for name in ('thred', 'fuse._loss_rate')}
    return transformer(48, 2, 16, side, 192) | head | scalars


def lctr_shapes(side: int) -> dict[str, list[int]]:
    head = {'conv3x3.weight': [24, 24, 3, 3], 'conv3x3.bias': [24]}
    head |= {'CDM.weight': [4, 7, 24, 3, 3], 'CDM.bias': [7]}
    routing = {f'CDM._routing_fn_two.{name}.weight': [4, 24] for name in ('fc', 'fc2')}
    routing |= {f'CDM._routing_fn_two.{name}.bias': [4] for name in ('fc', 'fc2')}
    return transformer(24, 2, 16, side, 96) | head | routing


def sat_shapes(side: int) -> dict[str, list[int]]:
    tokens = {'loc_token': [1, 1, 24], 'loc_embed': [1, 1, 24], 'weight': [1, 1, 3, 3]}
    return transformer(24, 3, 16, side, 96) | tokens | {'head.weight': [9, 24, 3, 3], 'head.bias': [9]}


def write_case(
    folder: Path, meta: dict, inputs: dict, wanted: str, store: Callable = lambda name, value: value
) -> Path:
    """Write a case whose outputs are those of the library in float64."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {'tolerance': TOLERANCES[folder.name], 'case': 'written', **meta}
    case = Case(folder.name, 'written', meta, {**inputs}, folder)
    found = find_check(case).compute(case, torch.float64)
    outputs = {name: as_array(value) for name, value in found.items() if re.fullmatch(wanted, name)}
    assert outputs, sorted(found)
    single = {
        name: value.astype(np.float32) if value.dtype == np.float64 else value
        for name, value in outputs.items()
    }
    arrays = {name: store(name, value) for name, value in (inputs | single).items()}
    meta['arrays'] = {name: {'shape': list(value.shape), 'meaning': ''} for name, value in arrays.items()}
    np.savez(folder / 'written.npz', **arrays)
    (folder / 'written.json').write_text(json.dumps(meta))
    return folder / 'written.json'


def rewritten(path: Path, change: Callable[[dict], object]) -> Path:
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))
    return path


def with_array(path: Path, name: str, change: Callable) -> Path:
    """Change one array of a case."""
    with np.load(path.with_suffix('.npz')) as file:
        arrays = dict(file)
    arrays[name] = change(arrays[name])
    np.savez(path.with_suffix('.npz'), **arrays)
    return path


def assert_checked(path: Path, wrong: str) -> None:
    """Check that a case agrees, and no longer if one of its arrays is wrong."""
    passed, line = check(path)
    assert passed, line
    with_array(path, wrong, lambda values: values * np.float32(1.01))
    passed, line = check(path)
    assert not passed
    assert wrong in line


LABELS = {'in/label': np.array([2, 0])}


def describe_scm(side: int, **more) -> dict:
    shapes = [[name, shape, 'float32'] for name, shape in scm_shapes(side).items()]
    return {'arch': 'deit_scm_small_patch16_224', 'recipe': RECIPE, 'parameters': shapes, **more}


@pytest.mark.parametrize(
    'described',
    [
        {'image': [2, 3, 256, 256], 'mode': 'eval'},
        {'input_recipe': 'standard_normal((2,3,256,256)) as float32', 'mode': 'evaluation'},
        {'inputs': 'two images, frame 256, seeded with crc32', 'batch': 2, 'mode': 'test'},
        {'input': {'batch': 2, 'height': 256, 'width': 256}},
        {'batch_size': 2, 'mode': 'eval'},  # the position embedding tells the side
    ],
    ids=['list', 'recipe', 'words', 'mapping', 'silent'],
)
def test_scm_on_deit_by_recipe(tmp_path, described):
    path = write_case(tmp_path / 'scm', describe_scm(256, image=[2, 3, 256, 256], mode='eval'), {}, 'out/.*')
    rewritten(path, lambda meta: [meta.pop(key) for key in ('image', 'mode')])
    rewritten(path, lambda meta: meta.update(described))
    assert_checked(path, 'out/final_map')


def test_scm_trains_by_recipe(tmp_path):
    meta = describe_scm(224, mode='train', image_shape=[2, 3, 224, 224])
    assert_checked(
        write_case(tmp_path / 'scm', meta, LABELS, '(out|grad)/.*'), 'grad/blocks.0.attn.qkv.weight'
    )


@pytest.mark.parametrize('mode', ['train', 'eval'])
def test_scm_on_conformer_by_recipe(tmp_path, mode):
    shapes = {name: {'shape': shape} for name, shape in conformer(24, 3, 6).items()}
    meta = {'model': 'Conformer + SCM', 'model_args': {'heads': 3}, 'state_dict': shapes}
    meta |= {'weights_recipe': RECIPE, 'mode': mode, 'input_size': [2, 3, 256, 256]}
    # Others are zero in truth: what BatchNorm takes off again.
    wanted = r'out/.*|grad/(cls_token|trans_1\.attn.*|trans_norm.*|conv_cls_head.*)|state_after/bn1\.r.*'
    assert_checked(write_case(tmp_path / 'scm', meta, LABELS, wanted), 'out/S0')


@pytest.mark.parametrize('side', [256, 384])
def test_lctr_at_other_frames(tmp_path, side):
    shapes = [
        {'name': name, 'shape': shape, 'norm_weight': 'norm' in name and name.endswith('weight')}
        for name, shape in lctr_shapes(side).items()
    ]
    meta = {'mode': 'train (no dropout)', 'model_args': {'num_heads': 3, 'img_size': side}}
    meta |= {'weights_recipe': RECIPE, 'parameters': shapes, 'input_size': f'(2, 3, {side}, {side})'}
    path = write_case(tmp_path / 'lctr', meta, LABELS, '(out|grad)/.*')
    assert_checked(path, 'grad/CDM.weight')


def test_sat_with_every_third_class(tmp_path):
    meta = {'model_args': {'n_heads': 3}, 'area_threshold': 0.25, 'recipe': RECIPE, 'not_filled': ['weight']}
    meta |= {'parameters': sat_shapes(256), 'image': '(2,3,256,256)', 'mode': 'train'}

    def store(name, value):
        return value[:, ::3] if name == 'out/head_map' else value

    path = write_case(tmp_path / 'sat', meta, LABELS, '(out|grad)/.*', store)
    passed, line = check(path)
    assert not passed
    assert 'shape' in line
    rewritten(path, lambda meta: meta.update(note='maps with a class axis keep every 3rd class'))
    assert_checked(path, 'out/head_map')
    rewritten(path, lambda meta: meta.update(note='maps with a class axis keep every 4th class'))
    assert not check(path)[0]


COPIES = {
    'ts_cam': ('tiny_deit', '(out/eval/(?!gt_)|out/train/l|grad/).*'),
    'scm': ('deit_scm_tiny_eval', 'out/.*'),
    'lctr': ('tiny_train', '(out|grad)/.*'),
    'cdtr': ('tiny_catr_imnet_eval', 'out/eval_(logits|cams)|out/head_map'),
}


def copied(folder: Path, system: str, half: bool) -> Path:
    """Write a committed case anew, with the images in half precision if asked for."""
    name, wanted = COPIES[system]
    case = Case.load(COMMITTED / system / f'{name}.json')
    inputs = {key: value for key, value in case.arrays.items() if key.startswith(('in/', 'state/'))}
    if half:
        inputs['in/image'] = inputs['in/image'].astype(np.float16).astype(np.float32)
    meta = {key: value for key, value in case.meta.items() if key not in ('arrays', 'optimizer')}

    def store(key, value):
        return value.astype(np.float16) if half and key == 'in/image' else value

    return write_case(folder / system, meta, inputs, wanted, store)


@pytest.mark.parametrize('system', COPIES)
def test_images_in_half_precision(tmp_path, system):
    path = copied(tmp_path, system, half=True)
    wrong = {'ts_cam': 'out/eval/logits', 'cdtr': 'out/eval_logits'}.get(system, 'out/logits')
    assert_checked(path, wrong)


def test_maps_in_half_precision_and_subsets_of_classes(tmp_path):
    path = copied(tmp_path, 'cdtr', half=False)

    def stored(values):
        return values[:, ::3].astype(np.float16)

    with_array(path, 'out/eval_cams', stored)
    for subset in ('maps with a class axis keep every 3rd class', 3, [0, 3, 6]):
        rewritten(path, lambda meta, subset=subset: meta.update(class_subset=subset))
        passed, line = check(path)
        assert passed, line
    rewritten(path, lambda meta: meta.update(class_subset=[0, 2, 4]))
    assert not check(path)[0]


@pytest.mark.parametrize(
    ('system', 'renamed'),
    [
        ('ts_cam', {'model_args': 'args', 'embed_dim': 'embedDim', 'num_heads': 'heads'}),
        ('scm', {'args': 'model_kwargs', 'num_heads': 'n_heads', 'norm_layer': 'layer_norm'}),
        ('lctr', {'model_args': 'arguments', 'patch_size': 'patch', 'num_heads': 'num_attention_heads'}),
        ('cdtr', {'model_args': 'args', 'layer_norm_eps': 'norm_eps', 'depth': 'n_blocks'}),
    ],
)
def test_other_names_of_keys(tmp_path, system, renamed):
    path = copied(tmp_path, system, half=False)

    def rename(value):
        if isinstance(value, dict):
            return {renamed.get(key, key): rename(entry) for key, entry in value.items()}
        return value

    path.write_text(json.dumps(rename(json.loads(path.read_text()))))
    passed, line = check(path)
    assert passed, line


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda meta: meta['args'].pop('num_heads'), 'scm/written: num_heads: expected a divisor'),
        (lambda meta: meta['args'].update(num_heads=5), 'num_heads: expected a divisor of the width 24'),
        (lambda meta: meta['args'].update(embed_dim=48), 'embed_dim: expected 24'),
        (lambda meta: meta['args'].update(num_classes=8), 'num_classes: expected 7'),
        (lambda meta: meta['args'].update(mlp_ratio=2), 'mlp_ratio: expected 4.0'),
        (lambda meta: meta.update(mode='train and eval'), 'mode: expected "train" or "eval"'),
    ],
)
def test_what_cannot_be_derived_is_named(tmp_path, change, reason):
    path = copied(tmp_path, 'scm', half=False)
    passed, line = check(rewritten(path, change))
    assert not passed
    assert reason in line


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda meta: meta.pop('recipe'), 'weights: expected state/ arrays, or the recipe'),
        (lambda meta: meta.pop('parameters'), 'no check for this case'),
        (lambda meta: meta.pop('arch'), 'num_heads'),
        (lambda meta: meta.update(image=[2, 3, 224, 224]), 'in/image: expected images whose patches'),
        (lambda meta: meta.update(recipe=RECIPE.replace('0.02', '0.03')), 'quantities'),
        (lambda meta: meta.update(recipe=RECIPE.replace('*.thred 0.5', '*.thred: 0.7')), 'quantities'),
        (lambda meta: meta.update(arch='deit_scm_tiny_patch16'), 'quantities'),
    ],
)
def test_other_recipe_fails(tmp_path, change, reason):
    meta = describe_scm(64, image=[2, 3, 64, 64], mode='train')
    path = write_case(tmp_path / 'scm', meta, LABELS, 'out/.*')
    assert check(path)[0]
    passed, line = check(rewritten(path, change))
    assert not passed
    assert reason in line


@pytest.mark.parametrize(
    ('told', 'shape'),
    [
        (384, (None, 384, 384)),
        ([2, 3, 384, 256], (2, 384, 256)),
        ([3, 384, 384], (None, 384, 384)),
        ({'batch': 4, 'height': 256, 'width': 384}, (4, 256, 384)),
        ({'size': 256}, (None, 256, 256)),
        ('standard_normal((2,3,384,384)) as float32', (2, 384, 384)),
        ('images 2x3x256x256', (2, 256, 256)),
        ('384x384 pixels', (None, 384, 384)),
        ('frame 256', (None, 256, 256)),
        ('the 384 pixel frame', (None, 384, 384)),
        ('standard_normal((B,3,H,W))', None),
    ],
)
def test_shapes_in_words(told, shape):
    assert shape_in(told) == shape


@pytest.mark.parametrize(
    ('text', 'limits'),
    [
        (1e-4, (1e-4, 0, 0)),
        ({'atol': 1e-5, 'rtol': 1e-4, 'note': ''}, (1e-5, 1e-4, 0)),
        ('exact', (0, 0, 0)),
        ('abs 1e-5 (other arrays: abs 1e-4)', (1e-5, 0, 0)),
        ('abs 1e-4 + rel 1e-3', (1e-4, 1e-3, 0)),
        ('1e-4 absolute', (1e-4, 0, 0)),
        ('max abs error <= 1e-6 + 2e-5 * max abs of the array', (1e-6, 0, 2e-5)),
        ('max abs difference <= 1e-4 * max|reference| + 1e-7, per array', (1e-7, 0, 1e-4)),
        ('abs error <= 1e-5 * (1 + abs value)', (1e-5, 1e-5, 0)),
        ('relative to the maximum of each map: 1e-4', (0, 0, 1e-4)),
        ('1e-4 relative to the largest absolute entry of that gradient tensor', (0, 0, 1e-4)),
        ('1e-5 of the largest absolute value', (0, 0, 1e-5)),
    ],
)
def test_tolerances_in_words(text, limits):
    assert _limits(Case('system', 'name', {}, {}), 'out/x', deepcopy(text)) == pytest.approx(limits)


def test_every_nth():
    assert every('maps keep every 10th class, every other row and every 4 columns') == [10, 2, 4]
