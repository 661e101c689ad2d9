"""The stand-in for a network and its GPU, and the overlap of evaluation and network that it measures."""

import json
import time

from benchmarks import overlap
from wsol_mm.evaluation.metrics import LocalizationMetric, image_record
from wsol_mm.evaluation.metrics.protocol_record import make_record

import pytest

PROTOCOLS = ['ts_cam']


@pytest.mark.parametrize(
    ('speed', 'workers', 'seconds', 'loop', 'expected'),
    [
        (100, 0, 0.01, 0.005, 40),
        (100, 1, 0.02, 0, 50),
        (100, 2, 0.02, 0, 100),
        (100, 4, 0.02, 0, 100),
        (100, 4, 0.02, 0.01, 50),
    ],
)
def test_expected_rate(speed, workers, seconds, loop, expected):
    assert overlap.expected_rate(speed, workers, seconds, loop) == pytest.approx(expected)


@pytest.mark.parametrize(
    ('speed', 'milliseconds'), [(200, 2), (200, 16)], ids=['slow network', 'slow evaluation']
)
def test_throughput_is_that_of_the_slower(monkeypatch, speed, milliseconds):
    """Evaluation that takes its time without a core: processes overlap whatever else the machine does."""

    def slow_record(*args):
        time.sleep(milliseconds / 1000)
        return make_record(*args)

    monkeypatch.setattr(image_record, 'make_record', slow_record)
    reached, values = {}, []
    for workers in (0, 2):
        metric = LocalizationMetric(PROTOCOLS, num_eval_workers=workers)
        seconds, busy, metrics = overlap.timed_test(160, 8, speed, metric)
        assert busy >= 160 / speed
        reached[workers] = 160 / seconds
        values.append(metrics)
    assert values[0] == values[1] and values[0]['Top-5_Cls'] == 100
    # Upper bounds hold on any machine: nothing is faster than network and processes.
    assert reached[0] <= overlap.expected_rate(speed, 0, milliseconds / 1000, 0)
    assert reached[2] <= overlap.expected_rate(speed, 2, milliseconds / 1000, 0) * 1.01
    # The first and the last batch overlap with nothing.
    assert reached[2] > 1.1 * reached[0]


def test_report(tmp_path, capsys):
    out = tmp_path / 'overlap.json'
    arguments = ['--protocols', *PROTOCOLS, '--images', '70', '--batch-size', '16', '--images-per-second']
    assert overlap.main([*arguments, '2000', '--workers', '0', '2', '--out', str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith('ts_cam; 70 images, batches of 16')
    report = json.loads(out.read_text())
    assert report['metrics']['Top-5_Cls'] == 100
    # Real maps: more protocols take longer.
    assert 0 < report['evaluation'] < overlap.evaluation_seconds(['scm'])
    assert [result['workers'] for result in report['results']] == [0, 2]
    for result in report['results']:
        assert 0 < result['images_per_second'] < 2000 and 0 < result['waits'] < 1
        assert f'{result["images_per_second"]:.0f}' in printed


def test_check_fails_where_a_test_is_slow(monkeypatch):
    arguments = ['--protocols', *PROTOCOLS, '--images', '20', '--images-per-second', '2000', '--workers', '1']
    monkeypatch.setattr(overlap, 'expected_rate', lambda *args: 1e6)
    assert overlap.main(arguments) == 0
    assert overlap.main([*arguments, '--check']) == 1


def test_refused_options(capsys):
    for option, low in (('--images', 1), ('--workers', 0), ('--images-per-second', 1), ('--batch-size', 1)):
        with pytest.raises(SystemExit):
            overlap.main([option, '-1'])
        assert f"argument {option}: expected an integer from {low}, got '-1'" in capsys.readouterr().err
