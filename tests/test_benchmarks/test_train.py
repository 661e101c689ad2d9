"""The benchmark of training steps, and what it shares with that of inference."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks import comparison as speed
from benchmarks import explicit_attention, step_parts, train
from benchmarks.variants import VARIANTS, build_variants
from tests.clip_samples import RANDOM_CLIP

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

MICRO = """
model = dict(
    type='ImageLocalizer',
    backbone=dict(
        type='TokenVisionTransformer',
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
        img_size=32,
        patch_size=8,
        drop_path_rate=0.1,
    ),
    head=dict(type='TSCAMHead', num_classes=3, in_channels=16),
)
data_preprocessor = dict(mean=[127.5] * 3, std=[127.5] * 3)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
default_scope = 'wsol_mm'
"""
QUICK = ['--batch-size', '2', '--iters', '1', '--repeats', '2', '--warmup', '1']


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'micro.py'
    path.write_text(MICRO)
    return str(path)


def refused(arguments, capsys) -> str:
    """Return the message of a refused command line."""
    with pytest.raises(SystemExit) as error:
        train.main(arguments)
    assert error.value.code == 2
    return capsys.readouterr().err


def test_table_and_json(config, tmp_path, capsys):
    out = tmp_path / 'train.json'
    assert train.main([config, *QUICK, '--out', str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines if line.startswith('| micro')]
    assert [row[:2] for row in cells] == [['micro', name] for name in ('ours', 'plain', 'explicit')]
    assert cells[1][4:6] == ['-', '-']
    report = json.loads(out.read_text())
    assert report['device'] == 'cpu' and report['batch_size'] == 2 and report['threads'] == 1
    (result,) = report['results']
    assert result['config'] == config and result['head'] == 'TSCAMHead' and result['target'] == 1.15
    assert set(result['time_to']) == set(result['memory_to']) == {'plain', 'explicit'}
    for name, values in result['variants'].items():
        assert len(values['rounds']) == 2, name
        assert values['images_per_second'] == pytest.approx(2 / values['seconds_per_step'])
    ours, plain = (result['variants'][name] for name in ('ours', 'plain'))
    ratios = sorted(a / b for a, b in zip(ours['rounds'], plain['rounds'], strict=True))
    assert result['time_to']['plain'] == pytest.approx(sum(ratios) / 2)
    # At least weights, their gradients and the two moments of AdamW.
    model = 4 * sum(parameter.numel() for parameter in build(config)['ours'].model.parameters())
    assert ours['peak_bytes'] > 4 * model


def build(config: str, img_size: int | None = None, amp: str | None = None) -> dict[str, speed.Contender]:
    args = argparse.Namespace(batch_size=2, img_size=img_size, amp=amp, device='cpu')
    cfg = Config.fromfile(config)
    with speed.quiet_logger(), DefaultScope.overwrite_default_scope('wsol_mm'):
        variants = build_variants(cfg, VARIANTS, img_size)
        batch = speed.synthetic_batch(variants['ours'], args)
        return {name: train.training_step(model, batch, cfg, args) for name, model in variants.items()}


def test_steps_train(config):
    contenders = build(config)
    for name, contender in contenders.items():
        before = [parameter.detach().clone() for parameter in contender.model.parameters()]
        resident = contender.resident_bytes()
        contender.step()
        changed = [
            not torch.equal(old, new) for old, new in zip(before, contender.model.parameters(), strict=True)
        ]
        assert all(changed), name
        # AdamW has two moments, and a counter for each parameter.
        moments = contender.resident_bytes() - resident
        assert moments == 2 * resident - buffers(contender) + 4 * len(before), name


def buffers(contender: speed.Contender) -> int:
    return 2 * speed.tensor_bytes(contender.model.buffers())


def test_models_start_with_equal_weights(config):
    contenders = build(config)
    images = torch.randn(2, 3, 32, 32)
    ours, form = contenders['ours'].model.eval(), contenders['explicit'].model.form.eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(images), form.predict(images)[0])


def test_sizes_and_mixed_precision(config, capsys):
    contenders = build(config, img_size=48, amp='bf16')
    assert contenders['ours'].model.backbone.img_size == (48, 48)
    assert contenders['explicit'].model.form.img_size == (48, 48)
    assert train.main([config, *QUICK, '--img-size', '16', '--amp', 'bf16', '--variants', 'ours']) == 0
    assert capsys.readouterr().out.count('| micro ') == 1


def test_hybrid_backbone_has_no_explicit_form(tmp_path, capsys):
    path = tmp_path / 'hybrid.py'
    path.write_text(
        MICRO.replace("type='TokenVisionTransformer'", "type='TokenConformer'")
        .replace('num_layers=2', 'depths=3, channel_ratio=0.25')
        .replace(', feedforward_channels=32', '')
        .replace('        img_size=32,\n        patch_size=8,\n', '')
        .replace('in_channels=16', 'in_channels=16, conv_channels=64')
    )
    assert train.main([str(path), *QUICK, '--img-size', '64']) == 0
    assert skipped_explicit(path, capsys) == 'expected a plain vision transformer, got TokenConformer'


def skipped_explicit(path, capsys) -> str:
    """Return why the explicit form was left out, of a config with a table of the two other variants."""
    printed = capsys.readouterr()
    lines = [line for line in printed.out.splitlines() if line.startswith(f'| {path.stem} ')]
    assert [line.split('|')[2].strip() for line in lines] == ['ours', 'plain']
    config, skipped, reason = printed.err.strip().partition(': no explicit form: ')
    assert config == str(path) and skipped
    return reason


def test_a_method_needs_no_explicit_form(config, tmp_path, monkeypatch, capsys):
    monkeypatch.delitem(explicit_attention.FORMS, 'TSCAMHead')
    out = tmp_path / 'train.json'
    assert train.main([config, *QUICK, '--out', str(out)]) == 0
    assert skipped_explicit(Path(config), capsys).endswith(', got TSCAMHead')
    (result,) = json.loads(out.read_text())['results']
    assert result['target'] is None and set(result['time_to']) == {'plain'}
    assert train.main([config, *QUICK, '--variants', 'ours', 'plain']) == 0
    assert capsys.readouterr().err == ''


def test_every_file_of_a_method_is_found():
    """A form is in use because its file is there: nothing lists the methods."""
    folder = Path(explicit_attention.__file__).parent
    modules = {path.stem for path in folder.glob('*.py')} - {'__init__', 'builder', 'vit'}
    forms = explicit_attention.FORMS
    assert {form.__module__.rpartition('.')[2] for form in forms.values()} == modules
    common = ''.join((folder / f'{name}.py').read_text() for name in ('__init__', 'builder', 'vit'))
    assert not [name for head, form in forms.items() for name in (head, form.__name__) if name in common]


def test_a_model_with_dropout_has_no_explicit_form(tmp_path, capsys):
    path = tmp_path / 'dropout.py'
    path.write_text(MICRO.replace('drop_path_rate=0.1', 'drop_rate=0.1'))
    assert train.main([str(path), *QUICK]) == 0
    assert skipped_explicit(path, capsys) == 'expected a backbone without dropout, got the rates [0.0, 0.1]'


def test_check_fails_where_a_target_is_missed(config, monkeypatch, capsys):
    monkeypatch.setattr(explicit_attention.FORMS['TSCAMHead'], 'targets', {'train': 0.01})
    assert train.main([config, *QUICK]) == 0
    assert train.main([config, *QUICK, '--check']) == 1
    assert 'x plain (target 0.01)' in capsys.readouterr().out


def test_misses():
    result = {'time_to': {'plain': 1.2}, 'memory_to': {'explicit': 1.01}}
    assert speed.misses(result, 1.15) == ['1.20 x plain (target 1.15)', '1.01 x the memory of explicit']
    assert speed.misses({'time_to': {'plain': 1.1}, 'memory_to': {'explicit': 1}}, 1.15) == []
    assert speed.misses({'time_to': {}, 'memory_to': {}}, 1.15) == []


def test_peak_memory_of_a_known_step():
    megabyte = 2**18  # float32 numbers
    kept = []

    def step():
        a = torch.ones(2 * megabyte)
        b = a + 1  # 4 MB
        del a
        c = b.exp()  # 4 MB
        del b
        kept.append(c)

    assert speed.step_peak_bytes(step, 'cpu') == pytest.approx(4 * 2**20, rel=0.01)
    assert speed.step_peak_bytes(lambda: torch.ones(megabyte), 'cpu') == pytest.approx(2**20, rel=0.01)
    assert speed.step_peak_bytes(lambda: None, 'cpu') == 0


def test_bytes_of_shared_storages_count_once():
    tensor = torch.zeros(10)
    assert speed.tensor_bytes([tensor, tensor[:5], torch.zeros(2)]) == 48


def test_the_turns_rotate(monkeypatch):
    order = []
    contenders = {
        name: speed.Contender(None, lambda name=name: order.append(name), lambda: 0) for name in 'abc'
    }
    monkeypatch.setattr(speed, 'step_peak_bytes', lambda step, device: 1)
    contenders = dict(zip(('ours', 'plain', 'explicit'), contenders.values(), strict=True))
    args = argparse.Namespace(warmup=0, repeats=4, iters=1, device='cpu', clock='wall', batch_size=1)
    speed.measure(contenders, args)
    assert ''.join(order) == 'abcbcacababc'


def test_logger_level_returns(config):
    logger = MMLogger.get_current_instance()
    level = logger.level
    build(config)
    assert logger.level == level


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_no_gpu(config, capsys):
    message = refused([config, '--device', 'cuda'], capsys)
    assert 'argument --device: expected cpu, as this PyTorch sees no GPU, got cuda' in message


def test_refused_options(config, tmp_path, capsys):
    for option in ('--batch-size', '--threads', '--iters', '--repeats', '--img-size'):
        assert f"argument {option}: expected an integer from 1, got '0'" in refused(
            [config, option, '0'], capsys
        )
    assert "--warmup: expected an integer from 0, got '-1'" in refused([config, '--warmup', '-1'], capsys)
    assert 'argument --amp: expected bf16 with --device cpu, got fp16' in refused(
        [config, '--amp', 'fp16'], capsys
    )
    assert 'one thread' in refused([config, '--clock', 'process', '--threads', '2'], capsys)
    assert 'expected ours among them, got plain' in refused([config, '--variants', 'plain'], capsys)
    assert 'expected a file in a folder that exists, got' in refused(
        [config, '--out', str(tmp_path / 'none' / 'a.json')], capsys
    )
    assert 'expected a config file, got nothing at' in refused([str(tmp_path / 'none.py')], capsys)


def test_refused_configs(config, tmp_path):
    path = tmp_path / 'other.py'
    path.write_text('a = 1')
    with pytest.raises(SystemExit, match='other.py: expected the config of a training'):
        train.main([str(path), *QUICK])
    classifier = MICRO.replace("'ImageLocalizer'", "'ImageClassifier'").replace(
        "'TSCAMHead'", "'LinearClsHead'"
    )
    path.write_text(classifier)
    with pytest.raises(SystemExit, match='expected a model with a localization head, got ImageClassifier'):
        train.main([str(path), *QUICK])
    path.write_text(MICRO.replace("type='OptimWrapper'", "type='AmpOptimWrapper'"))
    with pytest.raises(
        SystemExit, match='--amp: expected .* OptimWrapper in the config, got AmpOptimWrapper'
    ):
        train.main([str(path), *QUICK, '--amp', 'bf16'])


CDTR = """head=dict(
        type='CDTRHead', num_classes=3, in_channels=16, num_layers=2, num_heads=2, ocm=dict(num_layers=2),
        sba=dict(clip=CLIP),
    ),
"""


@pytest.fixture
def cdtr_config(tmp_path):
    path = tmp_path / 'micro.py'
    head = "head=dict(type='TSCAMHead', num_classes=3, in_channels=16),\n"
    assert head in MICRO
    path.write_text(MICRO.replace(head, CDTR.replace('CLIP', repr(RANDOM_CLIP))))
    return str(path)


def test_split_of_a_step(cdtr_config, tmp_path, capsys):
    out = tmp_path / 'parts.json'
    assert train.main([cdtr_config, *QUICK, '--split-parts', '--out', str(out)]) == 0
    names = [line.split('|')[2].strip() for line in capsys.readouterr().out.splitlines() if 'micro ' in line]
    assert names == ['backbone, class head', 'CSM', 'OCM', 'SKI', 'SBA (CLIP)', 'whole step']
    (result,) = json.loads(out.read_text())['results']
    *parts, whole = result['parts']
    assert sum(part['bytes'] for part in parts) == whole['bytes']
    assert whole['share'] == 1 and whole['seconds'] > 0
    assert [part['part'] for part in parts] == names[:-1]


def test_stages_add_one_part_each(cdtr_config):
    config = Config.fromfile(cdtr_config)
    found = step_parts.stages(config)
    off = [
        [part for part in step_parts.PARTS if stage.model.head.get(part, 1) is None]
        for stage in found.values()
    ]
    assert off == [['csm', 'ocm', 'ski', 'sba'], ['ocm', 'ski', 'sba'], ['ski', 'sba'], ['sba'], []]
    config.model.head.update(ski=None)
    assert list(step_parts.stages(config)) == ['backbone, class head', 'CSM', 'OCM', 'SBA (CLIP)']
    config.model.head.type = 'CATRHead'
    assert list(step_parts.stages(config)) == ['backbone, class head', 'CSM', 'OCM']


def test_costs_of_parts_are_differences(monkeypatch):
    monkeypatch.setattr(speed, 'step_peak_bytes', lambda step, device: step())
    monkeypatch.setattr(speed, 'timed', lambda step, *_: step() / 10)
    contenders = {name: speed.Contender(None, lambda n=n: n, lambda: 1) for name, n in (('a', 3), ('b', 5))}
    args = argparse.Namespace(warmup=0, repeats=3, iters=1, device='cpu', clock='wall')
    first, second, whole = step_parts.measure(contenders, args)
    assert first == {'part': 'a', 'seconds': 0.3, 'share': 0.6, 'bytes': 4}
    assert second['seconds'] == pytest.approx(0.2) and second['bytes'] == 2
    assert whole == {'part': 'whole step', 'seconds': 0.5, 'share': 1.0, 'bytes': 6}


def test_other_heads_have_no_parts(config):
    with pytest.raises(SystemExit, match='expected a head with some of csm, ocm, ski, sba, got TSCAMHead'):
        train.main([config, *QUICK, '--split-parts'])


def test_cdtr_against_its_explicit_form(cdtr_config, capsys):
    assert train.main([cdtr_config, *QUICK]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('| micro')]
    assert [line.split('|')[2].strip() for line in lines] == ['ours', 'plain', 'explicit']


def test_benchmarks_are_modules_of_the_source_tree(repo_dir):
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    command = [sys.executable, '-m', 'benchmarks.train', '--help']
    result = subprocess.run(command, cwd=repo_dir, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert '--split-parts' in result.stdout
