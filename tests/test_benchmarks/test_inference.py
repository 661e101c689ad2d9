"""The benchmark of inference."""

import argparse
import json
from pathlib import Path

from benchmarks import comparison, inference
from benchmarks.explicit_attention import FORMS
from benchmarks.variants import VARIANTS, build_variants
from tests.methods import METHODS

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

OPTIMIZER = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
QUICK = ['--batch-size', '2', '--iters', '1', '--repeats', '1', '--warmup', '0']


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def write_config(path: Path, method: str) -> Path:
    """Write the config of a small model."""
    model = METHODS[method].model_config(training=True)
    Config(dict(model=model, optim_wrapper=OPTIMIZER)).dump(path)
    return path


@pytest.fixture(params=METHODS)
def config(request, tmp_path):
    return write_config(tmp_path / f'{request.param}.py', request.param)


def test_every_method(config, tmp_path, capsys):
    out = tmp_path / 'test.json'
    assert inference.main([str(config), *QUICK, '--out', str(out)]) == 0
    (result,) = json.loads(out.read_text())['results']
    form = FORMS.get(METHODS[config.stem].head)
    assert list(result['variants']) == list(VARIANTS if form else VARIANTS[:2])
    assert result['target'] == (form.targets.get('inference') if form else None)
    assert all(values['peak_bytes'] > 0 for values in result['variants'].values())
    assert capsys.readouterr().out.count(f'| {config.stem} ') == len(result['variants'])


def test_predictions_agree(config):
    """What is timed is the same work: equal scores, and maps of the same classes, on the CPU."""
    if METHODS[config.stem].head not in FORMS:
        pytest.skip('no explicit form')
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        variants = build_variants(Config.fromfile(config), VARIANTS)
    batch = comparison.synthetic_batch(
        variants['ours'], argparse.Namespace(batch_size=2, img_size=None, device='cpu')
    )
    assert batch['inputs'].shape == (2, 3, 32, 32)
    with torch.no_grad():
        ours, plain, explicit = (
            variants[name]
            .eval()
            .test_step({**batch, 'data_samples': [sample.new() for sample in batch['data_samples']]})
            for name in VARIANTS
        )
    assert len(ours) == len(plain) == len(explicit) == 2
    for found, expected in zip(ours, explicit, strict=True):
        torch.testing.assert_close(found.pred_score, expected.pred_score)
        torch.testing.assert_close(found.loc_maps, expected.loc_maps)
        assert torch.equal(found.pred_label, expected.pred_label)
    assert 'loc_maps' not in plain[0] and plain[0].pred_score.shape == (7,)
    assert type(variants['plain'].backbone).__name__ == 'TokenVisionTransformer'


def test_mixed_precision(tmp_path, capsys):
    path = write_config(tmp_path / 'sat.py', 'sat')
    options = ['--amp', 'bf16', '--img-size', '40', '--variants', 'ours', 'plain']
    assert inference.main([str(path), *QUICK, *options]) == 0
    assert capsys.readouterr().out.count('| sat ') == 2


def test_cfg_options(tmp_path):
    path = write_config(tmp_path / 'small.py', 'ts-cam')
    out = tmp_path / 'out.json'
    options = ['--cfg-options', 'model.head.num_classes=2', '--out', str(out)]
    assert inference.main([str(path), *QUICK, *options]) == 0
    assert json.loads(out.read_text())['results'][0]['head'] == 'TSCAMHead'
