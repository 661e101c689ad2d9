"""The reference cases, through the tool that users run."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

COMMITTED = Path(__file__).resolve().parents[1] / 'data' / 'parity'


def committed_cases() -> list[Path]:
    return sorted(COMMITTED.glob('*/*.json'))


@pytest.fixture(scope='module')
def tool(repo_dir):
    spec = importlib.util.spec_from_file_location(
        'check_parity', repo_dir / 'tools' / 'analysis_tools' / 'check_parity.py'
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.import_checks()
    return module


@pytest.mark.parametrize('case', committed_cases(), ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_committed_case(tool, case):
    passed, line = tool.check(case)
    assert passed, line


# The systems whose every case has a check; of the others only the evaluators are implemented.
COMPLETE_SYSTEMS = ('ts_cam', 'scm', 'lctr', 'evaluation', 'sat')
EVALUATOR_SYSTEMS = ('cdtr',)


@pytest.mark.parametrize('system', [*COMPLETE_SYSTEMS, *EVALUATOR_SYSTEMS])
def test_all_reference_cases(tool, shared_dir, system):
    pattern = '*.json' if system in COMPLETE_SYSTEMS else 'postprocess*.json'
    cases = sorted((shared_dir / 'parity' / system).glob(pattern))
    assert cases
    failures = [line for passed, line in map(tool.check, cases) if not passed]
    assert not failures, '\n'.join(failures)


def copy_case(source: Path, folder: Path, **changes) -> Path:
    """Copy a case with some arrays changed."""
    folder.mkdir(parents=True)
    arrays = dict(np.load(source.with_suffix('.npz')))
    for name, change in changes.items():
        arrays[name] = change(arrays[name])
    np.savez(folder / source.with_suffix('.npz').name, **arrays)
    target = folder / source.name
    target.write_text(source.read_text())
    return target


@pytest.mark.parametrize(
    ('system', 'case', 'array'),
    [
        ('ts_cam', 'postprocess_cub', 'out/gt_class_box'),
        ('sat', 'postprocess_cub', 'out/boxes'),
        ('scm', 'postprocess_multicontour', 'out/best_iou'),
        ('cdtr', 'postprocess', 'out/iou_t10'),
        ('evaluation', 'box_multigt', 'out/0.001/single/boxes'),
        ('evaluation', 'mask_random', 'out/q255/0.01/hist_true'),
    ],
)
def test_wrong_output_fails(tool, tmp_path, system, case, array):
    def change(values):
        values = values.copy()
        values.reshape(-1)[0] += 1
        return values

    path = copy_case(COMMITTED / system / f'{case}.json', tmp_path / system, **{array: change})
    passed, line = tool.check(path)
    assert not passed
    assert line.startswith(f'FAIL {system}/{case}')


def test_case_without_check_fails(tool, tmp_path, capsys, monkeypatch):
    folder = tmp_path / 'unknown_system'
    folder.mkdir()
    (folder / 'case.json').write_text(json.dumps({'kind': 'unknown'}))
    monkeypatch.setattr(sys, 'argv', ['check_parity.py', str(folder)])
    assert tool.main() == 1
    printed = capsys.readouterr().out
    assert 'FAIL unknown_system/case: no check for this case' in printed
    assert '0 of 1 cases agree' in printed


def test_exit_status_and_lines(tool, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['check_parity.py', str(COMMITTED / 'sat')])
    assert tool.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(':')[0] for line in lines[:2]] == [
        'ok   sat/attention_module',
        'ok   sat/full_tiny_ilsvrc',
    ]


def test_missing_path(tool, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, 'argv', ['check_parity.py', str(tmp_path / 'nothing')])
    with pytest.raises(SystemExit) as exit_info:
        tool.main()
    assert exit_info.value.code == 2
    assert 'no case' in capsys.readouterr().err
