"""tools/deployment as a user calls it, and the code of the documentation on what it writes."""

import importlib.util
import json
import re
import sys
from importlib.util import find_spec

from wsol_mm.deployment import export as deployment_export
from wsol_mm.evaluation.functional import ImageGeometry
from wsol_mm.evaluation.map_boxes import predict_boxes
from wsol_mm.evaluation.protocols import get_protocol
from wsol_mm.registry import MODELS

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

pytest.importorskip('onnxscript')
onnxruntime = pytest.importorskip('onnxruntime')


@pytest.fixture
def export(micro_project, repo_dir, monkeypatch, tmp_path):
    """Run an export tool in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(tool: str, *arguments: object) -> None:
        path = repo_dir / 'tools' / 'deployment' / f'{tool}.py'
        spec = importlib.util.spec_from_file_location(tool, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [f'{tool}.py', str(micro_project.config), *map(str, arguments)])
        module.main()

    return run


@pytest.fixture
def checkpoint(micro_project, tmp_path):
    """A checkpoint as training writes it, with the names of the classes."""
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(micro_project.config).model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    path = tmp_path / 'trained.pth'
    meta = dict(dataset_meta=dict(classes=('red', 'green', 'blue')))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


def code_of(repo_dir, start: str) -> str:
    """Return the Python block of docs/deployment.md that holds a text."""
    text = (repo_dir / 'docs' / 'deployment.md').read_text(encoding='utf-8')
    (block,) = (code for code in re.findall(r'```python\n(.*?)```', text, re.DOTALL) if start in code)
    return block


def test_onnx_and_the_documented_way_to_boxes(export, checkpoint, repo_dir, tmp_path, capsys):
    export('export_onnx', checkpoint, '--out', 'model.onnx', '--topk', 2, '--verify')
    printed = capsys.readouterr().out
    assert 'model.onnx: ' in printed and 'images -> scores, maps, map_labels' in printed
    assert 'agrees with PyTorch at batch sizes 1 and 3' in printed

    rng = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / 'photo.jpg'), cv2.resize(rng.integers(0, 256, (5, 7, 3), np.uint8), (70, 50)))
    names: dict = {}
    exec(code_of(repo_dir, 'InferenceSession'), names)
    assert names['facts']['classes'] == ['red', 'green', 'blue'] and names['facts']['shape'] == [32, 32]
    assert names['facts']['protocols'] == ['ts_cam', 'maxboxacc']
    assert names['facts']['test_pipeline'][1] == dict(type='Resize', scale=[32, 32])
    assert names['maps'].shape == (1, 2, 4, 4)
    geometry = ImageGeometry((70, 50), (32, 32), (32, 32))
    (expected,) = predict_boxes(names['maps'][0, 0], geometry, get_protocol('ts_cam'))
    np.testing.assert_allclose(names['box'], expected)


def test_torch_export_and_its_documented_use(export, checkpoint, repo_dir, capsys):
    export('export_torch', checkpoint, '--out', 'model.pt2', '--shape', 224, '--verify')
    assert 'agrees with PyTorch at batch sizes 1 and 3' in capsys.readouterr().out
    names: dict = {}
    exec(code_of(repo_dir, 'torch.export.load'), names)
    assert names['maps'].shape == (2, 3, 28, 28)


def test_weights_that_are_no_numbers_are_refused(export, checkpoint, tmp_path, monkeypatch, capsys):
    content = torch.load(checkpoint)
    content['state_dict']['head.semantic_conv.bias'][1] = torch.nan
    torch.save(content, checkpoint)
    said = []
    monkeypatch.setattr('wsol_mm.apis.model_loading.print_log', lambda text, **_: said.append(text))
    named = (
        f'{checkpoint}: expected finite weights, got NaN or infinity in 1 of them (head.semantic_conv.bias)'
    )
    with pytest.raises(SystemExit, match=re.escape(f'error: {named}')):
        export('export_torch', checkpoint, '--out', 'model.pt2')
    assert not (tmp_path / 'model.pt2').exists() and not said
    with pytest.raises(SystemExit) as caught:
        export('export_torch', checkpoint, '--out', 'model.pt2', '--verify', '--allow-non-finite')
    assert caught.value.code not in (0, None)
    assert (
        'DIFFERS from PyTorch at batch sizes 1 and 3: largest deviations scores inf'
        in capsys.readouterr().out
    )
    assert said == [named]


def test_trial_without_weights_of_another_size(export, tmp_path):
    export('export_onnx', '--out', 'new/trial.onnx', '--shape', 24, 40, '--maps', 'labels')
    session = onnxruntime.InferenceSession(tmp_path / 'new' / 'trial.onnx')
    facts = json.loads(session.get_modelmeta().custom_metadata_map['wsol_mm'])
    assert facts['classes'] is None and facts['maps'] == 'labels' and facts['shape'] == [24, 40]
    inputs = dict(images=np.zeros((2, 3, 24, 40), np.float32), labels=np.zeros((2, 1), np.int64))
    assert session.run(None, inputs)[1].shape == (2, 1, 3, 5)


@pytest.mark.parametrize(('sides', 'found'), [((225,), '225x225'), ((224, 36), '224x36')])
def test_sides_are_multiples_of_the_patch_size(export, tmp_path, sides, found):
    message = f'error: --shape: expected height and width in multiples of 8 and 8, .*, got {found}$'
    with pytest.raises(SystemExit, match=message):
        export('export_onnx', '--out', 'm.onnx', '--shape', *sides)
    assert not (tmp_path / 'm.onnx').exists()


def test_missing_packages_are_named_before_the_model_is_built(export, repo_dir, monkeypatch):
    command = 'pip install onnx onnxscript onnxruntime'
    assert command in (repo_dir / 'docs' / 'deployment.md').read_text(encoding='utf-8')
    absent = {'onnxscript', 'onnxruntime'}
    monkeypatch.setattr(
        deployment_export, 'find_spec', lambda name: None if name in absent else find_spec(name)
    )
    monkeypatch.setattr(MODELS, 'build', lambda *_: pytest.fail('the model is built'))
    for options, missing in (([], 'onnxscript'), (['--verify'], 'onnxscript and onnxruntime')):
        with pytest.raises(
            SystemExit,
            match=f'export_onnx.py: error: export to ONNX: expected {missing} to be .*, got none. {command}$',
        ):
            export('export_onnx', '--out', 'm.onnx', *options)


def test_what_cannot_be_exported_is_one_line(export, checkpoint, tmp_path, capsys):
    with pytest.raises(
        SystemExit, match='export_onnx.py: error: topk: expected an integer from 1 to 3, .*, got 0'
    ):
        export('export_onnx', checkpoint, '--out', 'model.onnx', '--topk', 0)
    torch.save({'state_dict': {}}, tmp_path / 'empty.pth')
    with pytest.raises(
        SystemExit, match='export_torch.py: error: .*: expected the weights of the model of the config'
    ):
        export('export_torch', tmp_path / 'empty.pth', '--out', 'model.pt2')
    for arguments, message in (
        (['--out', 'model.pt2'], "argument --out: expected a file that ends in .onnx, got 'model.pt2'"),
        (['--out', 'm.onnx', '--shape', '0'], 'argument --shape: expected one or two positive integers'),
        (
            ['--out', '/dev/null/m.onnx'],
            "argument --out: expected a path that can be written, got '/dev/null/m.onnx': '/dev/null' is "
            'not a',
        ),
    ):
        with pytest.raises(SystemExit):
            export('export_onnx', checkpoint, *arguments)
        assert message in capsys.readouterr().err
