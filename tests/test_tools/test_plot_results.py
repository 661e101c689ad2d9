"""Plots of what tools/test.py writes."""

import importlib.util
import json

from wsol_mm.evaluation.functional import OUTCOMES
from wsol_mm.registry import MODELS

import cv2
import pytest
import torch
from mmengine.config import Config

TOOL = 'analysis_tools/plot_results.py'


@pytest.fixture(scope='module')
def runs(micro_project):
    cfg = Config.fromfile(micro_project.config)
    torch.manual_seed(0)
    weights = micro_project.folder / 'weights of plots.pth'
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict()}, weights)
    result = micro_project.run('test.py', micro_project.config, weights, '--out', 'run.pkl', 'run.json')
    assert result.returncode == 0, result.stderr
    return micro_project.folder / 'run.pkl', micro_project.folder / 'run.json'


@pytest.fixture(scope='module')
def tool(repo_dir):
    spec = importlib.util.spec_from_file_location('plot_results', repo_dir / 'tools' / TOOL)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(repo_dir / 'tools' / 'analysis_tools')  # another tool there is imported
        spec.loader.exec_module(module)
    return module


def plot(tool, monkeypatch, *arguments):
    monkeypatch.setattr('sys.argv', ['plot_results.py', *map(str, arguments)])
    tool.main()


@pytest.mark.parametrize('name', ['threshold', 'size'])
def test_plots_of_predictions(tool, runs, monkeypatch, tmp_path, name):
    out = tmp_path / 'a folder' / 'plot.png'
    options = ['--iou', 0.3, 0.5] if name == 'threshold' else ['--iou', 0.3, '--threshold', 0.4]
    plot(tool, monkeypatch, name, f'first={runs[0]}', f'second={runs[0]}', '--out', out, *options)
    assert cv2.imread(str(out)).shape[1] == 960


def test_pdf_through_the_command_line(run_here, runs, tmp_path):
    run_here(TOOL, 'errors', 'json=run.json', 'pkl=run.pkl', '--out', tmp_path / 'errors.pdf')
    assert (tmp_path / 'errors.pdf').read_bytes().startswith(b'%PDF')


def test_predictions_and_metrics_have_the_same_breakdown(tool, runs):
    protocol = tool.get_protocol('ts_cam')
    from_predictions = tool.outcomes_of_run(runs[0], protocol, None)
    assert from_predictions == pytest.approx(tool.outcomes_of_run(runs[1], protocol, None))
    metrics = json.loads(runs[1].read_text())
    assert list(from_predictions) == list(OUTCOMES)
    assert from_predictions['correct'] == pytest.approx(metrics['ts_cam/error/correct'])


def test_given_threshold_is_marked(tool, runs):
    args = tool.parse_arguments(['size', str(runs[0]), '--out', 'x.png', '--threshold', '0.4'])
    hits = tool.hits_of_run(runs[0], tool.get_protocol('maxboxacc'), args)
    assert hits.thresholds[hits.threshold_index(0.5)] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            ['size', 'run.json', '--out', 'a.png'],
            'argument runs: expected predictions (.pkl) to plot size',
        ),
        (
            ['size', 'run.pkl', '--out', 'a.gif'],
            "--out: expected a file that ends in .png, .pdf, .svg, got 'a.gif'",
        ),
        (
            ['size', 'run.pkl', 'run.pkl', '--out', 'a.png'],
            "expected different labels (LABEL=FILE), got ['run', 'run']",
        ),
        (
            ['size', 'run.pkl', '--out', 'a.png', '--iou', '0.3', '0.5'],
            '--iou: expected at most 1 level(s) in (0, 1], got [0.3, 0.5]',
        ),
        (
            ['threshold', 'run.pkl', '--out', 'a.png', '--iou', '0'],
            '--iou: expected at most 4 level(s) in (0, 1], got [0.0]',
        ),
        (['size', 'run.pkl', '--out', 'a.png', '--threshold', '2'], 'expected a number in [0, 1), got 2.0'),
        (['size', 'a=none.pkl', '--out', 'a.png'], "expected a file, got nothing at 'none.pkl'"),
        (['size', 'run.txt', '--out', 'a.png'], "expected a .pkl or .json file, got 'run.txt'"),
    ],
)
def test_wrong_options_stop_with_one_line(tool, runs, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(runs[0].parent)
    with pytest.raises(SystemExit):
        tool.parse_arguments(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['run.json', '--protocol', 'sat'], 'run.json: expected sat/error/..., got'),
        (['run.json', '--threshold', '0.3'], '--threshold: expected predictions'),
        (['run.pkl', '--protocol', 'lctr'], "error_breakdown: expected one threshold, contours 'largest'"),
    ],
)
def test_files_without_the_breakdown(tool, runs, monkeypatch, options, message):
    monkeypatch.chdir(runs[0].parent)
    with pytest.raises(SystemExit, match=message):
        plot(tool, monkeypatch, 'errors', *options, '--out', 'x.png')
