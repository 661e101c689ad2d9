"""The reference cases of the models: everything that they list must agree."""

import sys
from pathlib import Path

import pytest

CASES = ('tiny_deit', 'tiny_conformer', 'deit_tiny_384_recipe', 'schedule_optimizer')


@pytest.fixture(scope='module')
def parity_checks(repo_dir):
    """The package of checks, which lies beside the tool that runs it."""
    sys.path.insert(0, str(repo_dir / 'tools' / 'analysis_tools'))
    try:
        import parity_checks
        from parity_checks.modules import import_checks

        import_checks()
        yield parity_checks
    finally:
        sys.path.pop(0)


@pytest.mark.parametrize('name', CASES)
def test_case_agrees(parity_checks, shared_dir, name):
    path: Path = shared_dir / 'parity' / 'ts_cam' / f'{name}.json'
    if not path.is_file():
        pytest.skip(f'no file {path}')
    case = parity_checks.Case.load(path)
    comparisons = parity_checks.find_check(case)(case)
    listed = {array for array in case.meta['arrays'] if array.startswith(('out/', 'grad/'))}
    assert listed <= {comparison.name for comparison in comparisons}
    assert [comparison for comparison in comparisons if not comparison.ok] == []


def test_an_array_without_a_check_fails(parity_checks, shared_dir):
    path: Path = shared_dir / 'parity' / 'ts_cam' / 'tiny_deit.json'
    if not path.is_file():
        pytest.skip(f'no file {path}')
    case = parity_checks.Case.load(path)
    case.meta['arrays']['out/eval/unheard_of'] = dict(shape=[1], meaning='')
    case = parity_checks.Case(
        case.system, 'renamed', case.meta, {**case.arrays, 'out/eval/strange': case.arrays['in/label']}
    )
    failed = [c.name for c in parity_checks.find_check(case)(case) if not c.ok]
    assert failed == ['out/eval/strange (not checked)', 'out/eval/unheard_of (listed, but not in the npz)']
