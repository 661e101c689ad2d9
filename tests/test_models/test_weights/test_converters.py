"""Tests of wsol_mm.models.weights.converters and of the tool over it."""

import importlib.util
import json
import re
from types import ModuleType

from wsol_mm import __version__
from wsol_mm.models.weights import convert_state_dict, load_pretrained
from wsol_mm.registry import MODELS
from wsol_mm.utils.checkpoint_io import read_checkpoint

import pytest
import torch


def official_name(name: str) -> str:
    """The reverse of the tables, written down apart from them."""
    name = name.replace('head.conv_fc', 'conv_cls_head').removeprefix('backbone.')
    name = name.replace('.ffn.layers.0.0.', '.mlp.fc1.').replace('.ffn.layers.1.', '.mlp.fc2.')
    if 'conv_trans' not in name and not name.startswith('trans_'):
        name = name.replace('patch_embed.projection', 'patch_embed.proj').replace('layers.', 'blocks.')
        name = re.sub(r'^ln1', 'norm', name)
    return re.sub(r'\.ln([12])\.', r'.norm\1.', name)


def official_state(model: torch.nn.Module, hybrid: bool) -> dict[str, torch.Tensor]:
    head = 'trans_cls_head' if hybrid else 'head'
    return {
        official_name(name).replace('head.semantic_conv', head): value
        for name, value in model.state_dict().items()
    }


@pytest.mark.parametrize('hybrid', [False, True])
@pytest.mark.parametrize('wrapped', [False, True])
def test_converted_weights_arrive_at_their_places(build_localizer, hybrid, wrapped):
    model = build_localizer(hybrid)
    state = official_state(model, hybrid)
    assert not any(name.startswith(('backbone', 'head.semantic')) for name in state)
    if wrapped:
        state = dict(epoch=1, state_dict={f'module.{name}': value for name, value in state.items()})
    converted = convert_state_dict('ts-cam', state)
    assert list(converted) == list(model.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(converted[name], value), name


@pytest.mark.parametrize(
    ('hybrid', 'case', 'entries'), [(False, 'tiny_deit', 152), (True, 'tiny_conformer', 718)]
)
def test_all_official_names_are_known(shared_dir, hybrid, case, entries):
    """The reference's own list of names, not one derived from ours."""
    path = shared_dir / 'parity' / 'ts_cam' / f'{case}.json'
    if not path.is_file():
        pytest.skip(f'no file {path}')
    parameters = json.loads(path.read_text())['parameters']
    assert len(parameters) == entries
    state = {name: torch.zeros(shape) for name, shape in parameters.items()}
    converted = convert_state_dict('ts-cam', state)
    backbone = dict(type='TokenVisionTransformer', arch='deit-tiny')
    head = dict(type='TSCAMHead', num_classes=10, in_channels=48)
    if hybrid:
        arch = dict(embed_dims=48, depths=12, num_heads=3, channel_ratio=0.5)
        backbone = dict(type='TokenConformer', arch=arch)
        head['conv_channels'] = 128
    model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head))
    assert set(converted) == set(model.state_dict())


@pytest.mark.parametrize('classes', [7, 5])
def test_official_conformer_of_imagenet_as_a_start(build_localizer, tmp_path, classes):
    """Its classifiers are kept as far as they fit: docs/specifications/ts_cam.md, section 2.3."""
    source = build_localizer(True)
    state = official_state(source, True)
    state['trans_cls_head.weight'] = torch.ones(7, 24)
    torch.save(state, tmp_path / 'conformer.pth')
    model = build_localizer(True, num_classes=classes)
    for value in model.state_dict().values():
        value.zero_()
    report = load_pretrained(model, tmp_path / 'conformer.pth')
    head = [
        'head.semantic_conv.weight',
        'head.semantic_conv.bias',
        'head.conv_fc.weight',
        'head.conv_fc.bias',
    ]
    assert report.fresh == (head[:1] if classes == 7 else head)
    for name in report.loaded:
        assert torch.equal(model.state_dict()[name], source.state_dict()[name]), name


def test_unknown_method_is_named(build_localizer):
    with pytest.raises(ValueError, match=r"method: expected one of \[.*'ts-cam'.*got 'psol'"):
        convert_state_dict('psol', {})


def test_unknown_entries_are_all_named(build_localizer):
    state = official_state(build_localizer(), False)
    state |= {'blocks.0.gamma': torch.ones(1), 'neck.weight': torch.ones(1)}
    with pytest.raises(
        ValueError, match=r'f\.pth: expected entries of ts-cam alone, got blocks\.0\.gamma, neck\.weight too'
    ):
        convert_state_dict('ts-cam', state, 'f.pth')


def test_plain_classifier_is_refused(build_localizer):
    state = official_state(build_localizer(), False)
    state['head.weight'] = torch.ones(7, 24)
    with pytest.raises(
        ValueError, match=r'with 4 dimensions.*semantic_conv\.weight.*got 2.*model\.pretrained'
    ):
        convert_state_dict('ts-cam', state)
    del state['head.weight']
    with pytest.raises(ValueError, match='got no such entry'):
        convert_state_dict('ts-cam', state)


def test_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match=r'expected a checkpoint of ts-cam .*, got the names conv\.weight'):
        convert_state_dict('ts-cam', {'conv.weight': torch.ones(1)})


@pytest.fixture
def tool(repo_dir) -> ModuleType:
    path = repo_dir / 'tools' / 'model_converters' / 'official_to_wsol_mm.py'
    spec = importlib.util.spec_from_file_location('official_to_wsol_mm', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tool(tool, build_localizer, tmp_path, capsys):
    model = build_localizer()
    torch.save(dict(epoch=1, best_map=0.5, state_dict=official_state(model, False)), tmp_path / 'in.pth')
    out = tmp_path / 'new' / 'out.pth'
    tool.main(['ts-cam', str(tmp_path / 'in.pth'), str(out)])
    assert f'44 entries written to {out}' in capsys.readouterr().out
    checkpoint = read_checkpoint(out)
    assert checkpoint['meta'] == dict(method='ts-cam', source='in.pth', wsol_mm_version=__version__)
    twin = build_localizer()
    for value in twin.state_dict().values():
        value.zero_()
    twin.load_state_dict(checkpoint['state_dict'], strict=True)
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(twin(images), model(images))


def test_tool_ends_with_a_message(tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match='absent.pth: expected a checkpoint, got nothing there'):
        tool.main(['ts-cam', 'absent.pth', 'out.pth'])


def test_tool_writes_checkpoints_alone(tool, capsys):
    with pytest.raises(SystemExit):
        tool.main(['ts-cam', 'absent.pth', 'out.bin'])
    assert "argument OUT: expected a file that ends in .pth, got 'out.bin'" in capsys.readouterr().err
