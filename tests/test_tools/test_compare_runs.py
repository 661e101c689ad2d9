"""A table over seeds, from logs of trainings and from metrics of tests."""

import json
import runpy

import pytest


def write_run(folder, accuracy, last=2):
    (folder / '1' / 'vis_data').mkdir(parents=True)
    records = [dict(loss=1.0, iter=5, epoch=1, step=5), {'maxboxacc/MaxBoxAcc': 9.0, 'time': 1.0, 'step': 1}]
    if last > 1:
        records.append({'maxboxacc/MaxBoxAcc': accuracy, 'Top-1_Cls': 50, 'time': 1.0, 'step': last})
    (folder / '1' / 'vis_data' / 'scalars.json').write_text(''.join(f'{json.dumps(r)}\n' for r in records))
    (folder / 'test.json').write_text(json.dumps({'x/Loc': accuracy + 1, 'bad': None}))
    return folder


@pytest.fixture
def runs(tmp_path):
    return [write_run(tmp_path / f'runs/a_lr=1_seed{seed}', 60.0 + seed) for seed in (0, 2)]


def test_last_validations_by_method(run_here, runs, tmp_path):
    other = write_run(tmp_path / 'other', 70.0)
    files = [tmp_path / f'new/table.{suffix}' for suffix in ('md', 'tex', 'csv')]
    printed = run_here('analysis_tools/compare_runs.py', *runs, f'my={other}', '--out', *files)
    assert printed.splitlines() == [
        '| method | runs | maxboxacc/MaxBoxAcc | Top-1_Cls |',
        '| --- | --- | --- | --- |',
        '| a_lr=1 | 2 | 61.00 ± 1.41 | 50.00 ± 0.00 |',
        '| my | 1 | 70.00 | 50.00 |',
    ]
    assert files[0].read_text() == printed
    assert r'a\_lr=1 & 2 & $61.00 \pm 1.41$ & $50.00 \pm 0.00$ \\' in files[1].read_text()
    assert 'a_lr=1,2,maxboxacc/MaxBoxAcc,61.0,1.4142135623730951\n' in files[2].read_text()


def test_metrics_of_tests(run_here, runs):
    printed = run_here(
        'analysis_tools/compare_runs.py', *runs, '--metrics-file', 'test.json', '--digits', '0'
    )
    assert printed.splitlines()[2] == '| a_lr=1 | 2 | 62 ± 1 | nan |'


def test_refined_and_plain_tests_are_separate_rows(run_here, runs):
    others = []
    guided = 'guided filter (radius 8, eps 0.01)'
    for seed, refinement in ((1, 'mirrored too'), (3, 'mirrored too'), (5, guided)):
        folder = write_run(runs[0].parent / f'a_lr=1_seed{seed}', 80.0 + seed)
        metrics = {'x/Loc': 80.0 + seed, 'bad': None, 'refinement': refinement}
        (folder / 'test.json').write_text(json.dumps(metrics))
        others.append(folder)
    folders = [runs[0], others[0], runs[1], *others[1:]]
    printed = run_here('analysis_tools/compare_runs.py', *folders, '--metrics-file', 'test.json')
    assert printed.splitlines()[2:] == [
        '| a_lr=1 | 2 | 62.00 ± 1.41 | nan |',
        '| a_lr=1 (mirrored too) | 2 | 82.00 ± 1.41 | nan |',
        f'| a_lr=1 ({guided}) | 1 | 85.00 | nan |',
    ]
    (others[0] / 'test.json').write_text('{"x/Loc": 1, "refinement": 3}')
    with pytest.raises(SystemExit, match="test.json: expected a text as refinement, got '3'"):
        run_here('analysis_tools/compare_runs.py', *folders, '--metrics-file', 'test.json')


def test_an_unfinished_run_is_named(runs, tmp_path, repo_dir, monkeypatch, capsys):
    longer = write_run(tmp_path / 'runs/a_lr=1_seed4', 66.0, last=3)
    path = repo_dir / 'tools' / 'analysis_tools' / 'compare_runs.py'
    monkeypatch.setattr('sys.argv', [path.name, *map(str, [*runs, longer])])
    runpy.run_path(str(path), run_name='__main__')
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2
    assert f'{runs[0]}: expected a last validation after 3, as of {longer}, got one after 2' in warnings[0]


def test_methods_with_other_metrics(run_here, runs, tmp_path):
    """As of maps of classes and a map of all: each has the column of the other empty."""
    other = write_run(tmp_path / 'b', 66.0, last=1)
    files = [tmp_path / f'table.{suffix}' for suffix in ('tex', 'csv')]
    printed = run_here('analysis_tools/compare_runs.py', other, *runs, '--out', *files)
    assert printed.splitlines()[2:] == [
        '| b | 1 | 9.00 | - |',
        '| a_lr=1 | 2 | 61.00 ± 1.41 | 50.00 ± 0.00 |',
    ]
    assert 'b & 1 & $9.00$ & $-$' in files[0].read_text()
    assert 'b,1,Top-1_Cls' not in files[1].read_text()


@pytest.mark.parametrize('first', [True, False])
def test_runs_of_a_method_with_other_metrics(run_here, runs, first):
    other = write_run(runs[0].parent / 'a_lr=1_seed7', 66.0, last=1)
    folders = [other, *runs] if first else [*runs, other]
    message = 'a_lr=1_seed7: expected the metrics of .*a_lr=1_seed0, of the same method, got no Top-1_Cls'
    with pytest.raises(SystemExit, match=message):
        run_here('analysis_tools/compare_runs.py', *folders)
    printed = run_here('analysis_tools/compare_runs.py', *folders, '--keys', 'maxboxacc/MaxBoxAcc')
    assert printed.splitlines()[2].startswith('| a_lr=1 | 3 | 43.67')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--keys', 'MaxBoxAcc'], "argument --keys: .* maxboxacc/MaxBoxAcc, Top-1_Cls, got 'MaxBoxAcc'"),
        (['--metrics-file', 'no.json'], 'No such file.*no.json'),
        (['nowhere'], 'nowhere: expected the work directory of a training, .*, got no such file'),
    ],
)
def test_what_a_run_does_not_have(run_here, runs, options, message):
    with pytest.raises(SystemExit, match=message):
        run_here('analysis_tools/compare_runs.py', *runs, *options)


def test_a_log_without_validations(run_here, tmp_path):
    folder = write_run(tmp_path / 'c', 1.0)
    (folder / '1' / 'vis_data' / 'scalars.json').write_text('{"loss": 1, "iter": 1, "step": 1}\n')
    with pytest.raises(SystemExit, match='c: expected a training with validations, got none'):
        run_here('analysis_tools/compare_runs.py', folder)
    (folder / '1' / 'vis_data' / 'scalars.json').write_text('{"x": "text", "step": 1}\n')
    with pytest.raises(SystemExit, match="c: expected numbers in its log, got 'text' for x"):
        run_here('analysis_tools/compare_runs.py', folder)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['{run}', 'label={run}'], 'expected each work directory once, got'),
        (['{run}', '--out', 'a.txt'], "expected a file that ends in .md, .tex, .csv, got 'a.txt'"),
    ],
)
def test_arguments_that_do_not_fit(run_here, runs, capsys, arguments, message):
    with pytest.raises(SystemExit, match='2'):
        run_here('analysis_tools/compare_runs.py', *(word.format(run=runs[0]) for word in arguments))
    assert message in capsys.readouterr().err
