"""Multiply-adds: against a count by hand, with fused attention, and what is printed."""

import importlib.util
import json

from wsol_mm.registry import MODELS

import pytest
import torch
import torch.nn.functional as F


@pytest.fixture(scope='module')
def tool(repo_dir):
    path = repo_dir / 'tools' / 'analysis_tools' / 'get_flops.py'
    spec = importlib.util.spec_from_file_location('get_flops', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def vit_macs(width, layers, hidden, patch, patches) -> int:
    tokens = patches + 1
    layer = tokens * width * (4 * width + 2 * hidden) + 2 * tokens**2 * width
    return layers * layer + patches * width * 3 * patch**2


def test_fused_attention_is_counted_as_two_products(tool):
    query = torch.zeros(1, 2, 10, 4)
    assert tool.count_macs(lambda: F.scaled_dot_product_attention(query, query, query)) == 2 * 2 * 10 * 10 * 4


def test_parts_are_those_of_a_count_by_hand(tool):
    arch = dict(embed_dims=24, num_layers=3, num_heads=2, feedforward_channels=48)
    backbone = dict(type='TokenVisionTransformer', arch=arch, img_size=32, patch_size=8)
    head = dict(type='TSCAMHead', num_classes=7, in_channels=24)
    model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head)).eval()
    parts = tool.measure(model, (32, 48), 5)
    patches = 4 * 6
    plain = vit_macs(24, 3, 48, 8, patches)
    rows = 3 * 24 * (patches + 1)  # the class token's query with all keys, in every layer
    assert parts['backbone']['macs_classification'] == plain
    assert parts['backbone']['macs_with_maps'] == plain + rows
    logits = 7 * 24 * 9
    assert parts['head']['macs_classification'] == logits
    assert parts['head']['macs_with_maps'] == logits + 5 * 24 * 9 * patches
    assert parts['head']['parameters'] == 7 * 24 * 9 + 7
    for key, value in parts['total'].items():
        assert value == parts['backbone'][key] + parts['head'][key]
    assert sum(p.numel() for p in model.parameters()) == parts['total']['parameters']


@pytest.mark.parametrize('config', ['ts_cam/ts-cam_deit-s_cub', 'sat/sat_deit-s_cub', 'lctr/lctr_deit-s_cub'])
def test_deit_s_has_its_published_size(tool, repo_dir, tmp_path, monkeypatch, capsys, config):
    """22 M parameters and 4.6 G multiply-adds (Touvron et al., ICML 2021, table 5)."""
    path = repo_dir / 'configs' / f'{config}.py'
    out = tmp_path / 'new' / 'flops.json'
    monkeypatch.setattr('sys.argv', ['get_flops.py', str(path), '--out', str(out)])
    tool.main()
    backbone = json.loads(out.read_text())['backbone']
    assert backbone['macs_classification'] / 1e9 == pytest.approx(4.6, abs=0.05)
    assert backbone['parameters'] / 1e6 == pytest.approx(22, abs=0.5)
    printed = capsys.readouterr().out
    assert 'one image of 224x224' in printed
    assert ('the one map' if config.startswith('sat') else 'maps of 5 classes') in printed


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--shape', '0'], '--shape: expected one or two integers from 1, got [0]'),
        (['--shape', '1', '2', '3'], '--shape: expected one or two integers from 1, got [1, 2, 3]'),
        (['--topk', '0'], 'argument --topk: expected an integer from 1, got 0'),
    ],
)
def test_arguments_that_do_not_fit(tool, repo_dir, capsys, options, message):
    with pytest.raises(SystemExit):
        tool.parse_arguments([str(repo_dir / 'configs' / 'sat' / 'sat_deit-s_cub.py'), *options])
    assert message in capsys.readouterr().err
