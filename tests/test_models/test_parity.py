"""The reference cases of the models: everything that they list must agree."""

from dataclasses import replace
from pathlib import Path

from tests.parity.case import Case
from tests.parity.engine import compare

import pytest

CASES = ('tiny_deit', 'tiny_conformer', 'deit_tiny_384_recipe', 'schedule_optimizer')


def load(shared_dir: Path, name: str) -> Case:
    path = shared_dir / 'parity' / 'ts_cam' / f'{name}.json'
    if not path.is_file():
        pytest.skip(f'no file {path}')
    return Case.load(path)


@pytest.mark.parametrize('name', CASES)
def test_case_agrees(shared_dir, name):
    case = load(shared_dir, name)
    comparisons = compare(case)
    listed = {array for array in case.listed() if array.startswith(('out/', 'grad/'))}
    assert listed <= {comparison.name.removesuffix(' in float32') for comparison in comparisons}
    assert [comparison for comparison in comparisons if not comparison.ok] == []


def test_an_array_without_a_check_fails(shared_dir):
    case = load(shared_dir, 'tiny_deit')
    case.meta['arrays']['out/eval/unheard_of'] = dict(shape=[1], meaning='')
    more = {'out/eval/strange': case.arrays['in/label']}
    failed = [c.name for c in compare(replace(case, arrays={**case.arrays, **more})) if not c.ok]
    assert failed == ['out/eval/strange (not checked)', 'out/eval/unheard_of (listed, but not in the npz)']
