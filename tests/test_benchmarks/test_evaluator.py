"""The region finder against the loop over thresholds, on a few small maps."""

from benchmarks import evaluator

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def small_maps(monkeypatch):
    monkeypatch.setattr(evaluator, 'SIZE', 112)


def rows(text: str) -> list[list[str]]:
    """Return the cells of the table."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith('maps '))
    return [line.split() for line in lines[first + 1 : -1]]


def test_generated_maps(capsys):
    options = ['--per-kind', '1', '--limit', '2', '--repeats', '1', '--steps', '0.1']
    assert evaluator.main([*options, '--groups', 'smooth', 'ragged']) == 0
    text = capsys.readouterr().out
    assert [row[:4] for row in rows(text)] == [
        [group, '2', '0.1', contours] for group in ('smooth', 'ragged') for contours in ('single', 'multi')
    ]
    assert text.endswith('results: equal on every map at every threshold\n')


@pytest.mark.parametrize('kind', sorted(sum(evaluator.GROUPS.values(), ())))
def test_maps_are_scores(kind):
    score_map = evaluator.make_map(kind, np.random.default_rng(0))
    assert score_map.shape == (112, 112) and score_map.dtype == np.float64
    assert score_map.min() == 0 and score_map.max() == 1


def test_own_maps(tmp_path, capsys):
    path = tmp_path / 'maps.npz'
    codes = np.random.default_rng(0).integers(0, 256, (2, 20, 30), np.uint8)
    np.savez(path, maps=codes, kind=['blobs', 'mine'])
    assert evaluator.main(['--maps', str(path), '--repeats', '1', '--steps', '0.1']) == 0
    assert [row[0] for row in rows(capsys.readouterr().out)] == ['smooth', 'smooth', 'other', 'other']
    assert evaluator.main(['--maps', str(path), '--repeats', '1', '--steps', '0.1', '--by-kind']) == 0
    assert [row[0] for row in rows(capsys.readouterr().out)] == ['blobs', 'blobs', 'mine', 'mine']


def test_a_missed_target_is_an_error_when_checked(monkeypatch, capsys):
    monkeypatch.setitem(evaluator.TARGETS, ('smooth', 0.1), 1e9)
    options = ['--per-kind', '1', '--limit', '1', '--repeats', '1', '--steps', '0.1', '--groups', 'smooth']
    assert evaluator.main(options) == 0
    assert evaluator.main([*options, '--check']) == 1
    assert '2 ratios are below their targets' in capsys.readouterr().out


def test_a_difference_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(evaluator, 'fast_single', lambda _, thresholds: np.zeros((len(thresholds), 4)))
    options = ['--per-kind', '1', '--limit', '1', '--repeats', '1', '--steps', '0.1', '--groups', 'smooth']
    assert evaluator.main(options) == 1
    assert '1 MAPS DIFFER' in capsys.readouterr().out


def test_refused_arguments(tmp_path, capsys):
    for options, message in (
        (['--repeats', '0'], "argument --repeats: expected an integer from 1, got '0'"),
        (['--groups', 'other'], "argument --groups: expected some of smooth, ragged, noise, got 'other'"),
    ):
        with pytest.raises(SystemExit):
            evaluator.main(options)
        assert message in capsys.readouterr().err
    path = tmp_path / 'maps.npz'
    np.savez(path, maps=np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r'expected maps \(N, H, W\) .*, got float64 \(2, 3\)'):
        evaluator.load_maps(path)
