"""The reference cases, through the tool that users run."""

import json
from pathlib import Path

from tests.forked_tools import run_tool
from tests.parity.command import main
from tests.parity.engine import check

import numpy as np
import pytest

COMMITTED = Path(__file__).resolve().parents[1] / 'data' / 'parity'


def committed_cases() -> list[Path]:
    return sorted(COMMITTED.glob('*/*.json'))


@pytest.mark.parametrize('case', committed_cases(), ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_committed_case(case):
    passed, line = check(case)
    assert passed, line


#: Whole networks at 224x224, in two precisions.
_MINUTES = {'cnn_baselines': pytest.mark.slow}
SYSTEMS = [
    pytest.param(folder.name, marks=_MINUTES.get(folder.name, ())) for folder in sorted(COMMITTED.iterdir())
]


@pytest.mark.parametrize('system', SYSTEMS)
def test_all_reference_cases(shared_dir, system):
    cases = sorted((shared_dir / 'parity' / system).glob('*.json'))
    assert cases
    committed = {path.stem for path in (COMMITTED / system).glob('*.json')}  # tested above
    cases = [case for case in cases if case.stem not in committed]
    failures = [line for passed, line in map(check, cases) if not passed]
    assert not failures, '\n'.join(failures)


def copy_case(source: Path, folder: Path, more: dict | None = None, **changes) -> Path:
    """Copy a case with some arrays changed, and with more arrays."""
    folder.mkdir(parents=True)
    archive = source.with_suffix('.npz')
    if archive.is_file():
        arrays = dict(np.load(archive)) | (more or {})
        for name, change in changes.items():
            arrays[name] = change(arrays[name])
        np.savez(folder / archive.name, **arrays)
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
        ('cdtr', 'dataset', 'out/IMNET_boxes'),
        ('cdtr', 'sampler', 'out/n600_R4_e1_r2'),
        ('cdtr', 'tiny_catr_imnet_eval', 'out/eval_attn_all'),
        ('cdtr', 'tiny_catr_imnet_eval', 'out/eval_boxes_t60'),
        ('evaluation', 'box_multigt', 'out/0.001/single/boxes'),
        ('evaluation', 'mask_random', 'out/q255/0.01/hist_true'),
    ],
)
def test_wrong_output_fails(tmp_path, system, case, array):
    def change(values):
        values = values.copy()
        values.reshape(-1)[0] += 1
        return values

    path = copy_case(COMMITTED / system / f'{case}.json', tmp_path / system, **{array: change})
    passed, line = check(path)
    assert not passed
    assert line.startswith(f'FAIL {system}/{case}')


def test_case_without_check_fails(tmp_path, capsys):
    folder = tmp_path / 'unknown_system'
    folder.mkdir()
    (folder / 'case.json').write_text(json.dumps({'kind': 'unknown'}))
    assert main([str(folder)]) == 1
    printed = capsys.readouterr().out
    assert 'FAIL unknown_system/case: no check for this case' in printed
    assert '0 of 1 cases agree' in printed


def changed_description(source: Path, folder: Path, change) -> Path:
    """Copy a case with its description changed."""
    path = copy_case(source, folder)
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))
    return path


@pytest.mark.parametrize(
    ('case', 'change', 'reason'),
    [
        ('module_csm', lambda meta: meta['tolerance'].update(forward='tight'), 'expected "exact", a number'),
        ('module_csm', lambda meta: meta['arrays'].update({'out/more': {}}), 'listed, but not in the npz'),
        ('module_csm', lambda meta: meta['model_args'].update(num_classes=6), 'RuntimeError'),
        (
            'tiny_catr_imnet_eval',
            lambda meta: meta.update(config='catr_cars'),
            'config: expected catr or cdtr',
        ),
        (
            'tiny_catr_imnet_eval',
            lambda meta: meta.update(class_subset='some'),
            'class_subset: expected',
        ),
        ('tiny_catr_imnet_eval', lambda meta: meta['model_args'].update(depth=11), 'depth: expected 12'),
        ('dataset', lambda meta: meta.update(tolerance='small'), 'tolerance: expected "boxes N'),
        ('recipe_cdtr', lambda meta: meta['cdtr_cub'].update(epochs=111), 'cdtr_cub: epochs'),
        ('recipe_cdtr', lambda meta: meta['cdtr_cub'].update(clip_grad=1), 'clip_grad (not checked)'),
        ('recipe_catr', lambda meta: meta['catr_imnet']['decay'].pop(), 'optimizer groups'),
        ('classnames_cub', lambda meta: meta['classnames'].reverse(), 'classnames'),
    ],
)
def test_other_description_fails(tmp_path, case, change, reason):
    passed, line = check(changed_description(COMMITTED / 'cdtr' / f'{case}.json', tmp_path / 'cdtr', change))
    assert not passed
    assert reason in line


def test_array_that_nothing_computes_fails(tmp_path):
    path = copy_case(COMMITTED / 'cdtr' / 'module_csm.json', tmp_path / 'cdtr', more={'out/train_more': 1.0})
    passed, line = check(path)
    assert not passed
    assert 'out/train_more (not checked)' in line


def test_exit_status_and_lines(repo_dir):
    tool = repo_dir / 'tools' / 'analysis_tools' / 'check_parity.py'
    result = run_tool(tool, [str(COMMITTED / 'sat')], COMMITTED, {})
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if not line.startswith('Could not')]
    assert lines[-1] == '8 of 8 cases agree'
    assert [line.split(':')[0] for line in lines[:2]] == [
        'ok   sat/attention_module',
        'ok   sat/full_tiny_ilsvrc',
    ]


def test_missing_path(capsys, tmp_path):
    with pytest.raises(SystemExit) as exit_info:
        main([str(tmp_path / 'nothing')])
    assert exit_info.value.code == 2
    assert 'expected cases (npz, json), got none' in capsys.readouterr().err
