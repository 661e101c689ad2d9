"""Curves and times from the logs of runs."""

import importlib.util
import json

import cv2
import pytest


@pytest.fixture(scope='module')
def tool(repo_dir):
    path = repo_dir / 'tools' / 'analysis_tools' / 'analyze_logs.py'
    spec = importlib.util.spec_from_file_location('analyze_logs', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_log(folder, *records):
    (folder / 'vis_data').mkdir(parents=True)
    lines = [json.dumps(record) for record in records]
    (folder / 'vis_data' / 'scalars.json').write_text('\n'.join(lines) + '\n')


def train(step, epoch, loss, time=2.0):
    return dict(lr=1e-4, loss=loss, time=time, data_time=0.5, epoch=epoch, iter=step, step=step)


@pytest.fixture
def resumed_run(tmp_path):
    """A run of two epochs of 20 iterations, stopped in the second and resumed."""
    run = tmp_path / 'my run'
    validation = {'maxboxacc/MaxBoxAcc': 50.0, 'time': 9.0, 'step': 1}
    write_log(
        run / '20260101_000000', train(10, 1, 3.0, 8.0), train(20, 1, 2.0), validation, train(30, 2, 9.0)
    )
    better = {**validation, 'maxboxacc/MaxBoxAcc': 60.0, 'step': 2}
    write_log(run / '20260102_000000', train(30, 2, 1.5), train(40, 2, 1.0, 4.0), better)
    return run


def test_what_was_repeated_after_a_stop_counts_once(tool, resumed_run):
    run = tool.read_run(resumed_run)
    assert run.name == 'my run'
    assert tool.curve(run, 'loss') == ('iteration', [10, 20, 30, 40], [3.0, 2.0, 1.5, 1.0])
    assert tool.curve(run, 'maxboxacc/MaxBoxAcc') == ('epoch', [1, 2], [50.0, 60.0])
    assert tool.available_keys(run) == ['lr', 'loss', 'time', 'data_time', 'maxboxacc/MaxBoxAcc']


def test_mean_time_leaves_the_start_out(tool, resumed_run):
    times = tool.mean_times(tool.read_run(resumed_run), warmup=10)
    assert times['time'] == pytest.approx(8 / 3) and times['data_time'] == 0.5
    assert times['std'] == pytest.approx(0.9428, abs=1e-4)
    assert tool.mean_times(tool.read_run(resumed_run), warmup=40) == {}


@pytest.mark.parametrize('suffix', ['.png', '.pdf'])
def test_curves_of_several_runs(tool, resumed_run, tmp_path, monkeypatch, capsys, suffix):
    out = tmp_path / 'new' / f'curves{suffix}'
    file = resumed_run / '20260102_000000' / 'vis_data' / 'scalars.json'
    options = ['--keys', 'loss', 'maxboxacc/MaxBoxAcc', '--legend', 'a', 'b', '--out', str(out)]
    monkeypatch.setattr('sys.argv', ['analyze_logs.py', str(resumed_run), str(file), *options])
    tool.main()
    printed = capsys.readouterr().out
    assert 'a: 4 training records, 2 validations, 2.667 s per iteration' in printed
    assert 'b: 2 training records, 1 validations, 3.000 s per iteration' in printed
    if suffix == '.png':
        picture = cv2.imread(str(out))
        assert picture.shape[1] > 2 * picture.shape[0]
        assert picture.std() > 5
    else:
        assert out.read_bytes().startswith(b'%PDF')


def test_keys_are_listed(tool, resumed_run, monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['analyze_logs.py', str(resumed_run)])
    tool.main()
    assert 'my run: lr, loss, time, data_time, maxboxacc/MaxBoxAcc' in capsys.readouterr().out


def test_what_is_no_log_is_named(tool, resumed_run, tmp_path, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr('sys.argv', ['analyze_logs.py', *map(str, arguments)])
        tool.main()

    with pytest.raises(SystemExit, match='expected the work directory of a training, .*, got no such file'):
        run(tmp_path)
    with pytest.raises(SystemExit, match="run 'my run': expected keys out of lr, loss, time.*, got 'Loss'"):
        run(resumed_run, '--keys', 'Loss', '--out', tmp_path / 'a.png')
    broken = tmp_path / 'scalars.json'
    broken.write_text('{"step": 1}\n{"loss"\n')
    with pytest.raises(SystemExit, match='scalars.json, line 2: expected a JSON object with a step, got'):
        run(broken)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--legend', 'a', 'b'], 'argument --legend: expected a name for each run, 1 in all, got 2'),
        (['--keys', 'loss'], 'argument --out: expected beside --keys, got none'),
        (
            ['--keys', 'loss', '--out', 'a.jpg'],
            "--out: expected a file that ends in .png, .pdf, .svg, got 'a.jpg'",
        ),
    ],
)
def test_arguments_that_do_not_fit(tool, capsys, options, message):
    with pytest.raises(SystemExit):
        tool.parse_arguments(['run', *options])
    assert message in capsys.readouterr().err
