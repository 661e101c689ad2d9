"""The agreement of saved maps, printed and written."""

import json

import numpy as np
import pytest

TOOL = 'analysis_tools/map_agreement.py'


@pytest.fixture
def folders(tmp_path):
    """Two folders of maps of two images, the second mirrored."""
    for number in range(2):
        loc_map = np.zeros((8, 8), np.float32)
        loc_map[2 * number : 2 * number + 4, :3] = 1
        for folder, one in (('A', loc_map), ('B', loc_map[:, ::-1])):
            path = tmp_path / folder / 'birds' / f'{number}.npy'
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, one)
    return tmp_path / 'A', tmp_path / 'B'


def test_numbers_are_printed_and_written(run_here, folders, tmp_path):
    out = tmp_path / 'agreement.json'
    text = run_here(TOOL, *folders, '--mirrored', '--thresholds', 0.25, 0.5, '--out', out)
    assert '<- best' in text.splitlines()[1]
    assert text.splitlines()[-1] == '2 images compared, 0 without a counterpart, 0 without contrast'
    values = json.loads(out.read_text())
    assert values['mean_ious'] == [1, 1]
    assert values['best_threshold'] == 0.25
    assert values['beyond_chance'] == 1
    assert 0 < values['chance_ious'][0] < 1
    assert ' 0.0000' in run_here(TOOL, *folders, '--thresholds', 0.5).splitlines()[1]


def test_thresholds_ascend(run_here, folders):
    with pytest.raises(SystemExit, match=r'error: thresholds: expected ascending numbers in \[0, 1\), got'):
        run_here(TOOL, *folders, '--thresholds', 0.5, 0.25)
