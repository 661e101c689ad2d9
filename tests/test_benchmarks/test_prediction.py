"""The stand-in for a network in predict.py: what it measures, and that boxes and journal are beside it."""

import json
import time

from benchmarks import prediction
from wsol_mm.apis import folder_prediction
from wsol_mm.apis.folder_prediction import FolderTask, predict_folder
from wsol_mm.apis.prediction_journal import PredictionJournal

import pytest


def test_report(tmp_path, capsys):
    out = tmp_path / 'prediction.json'
    arguments = ['--images', '70', '--images-per-second', '2000', '--loaders', '0', '--format', 'csv']
    assert prediction.main([*arguments, '--out', str(out)]) == 0
    report = json.loads(out.read_text())
    (result,) = report['results']
    assert 0 < result['images_per_second'] < 2000 and 0 < result['waits'] < 1
    assert report['loading'] > 0 and report['boxes'] > 0
    printed = capsys.readouterr().out
    assert '70 images of 48x40, batches of 32' in printed and f'{result["images_per_second"]:.0f}' in printed


def test_boxes_and_journal_are_beside_the_network(tmp_path, monkeypatch):
    """They take their time without a core: they overlap whatever else the machine does."""
    append, seconds = PredictionJournal.append, 0.04

    def slow_append(journal, results):
        time.sleep(seconds)
        append(journal, results)

    def slow_boxes(task, classes, protocol, images, errors, predictions):
        time.sleep(2 * seconds)
        return [{'error': 'none'} for _ in images]

    monkeypatch.setattr(PredictionJournal, 'append', slow_append)
    monkeypatch.setattr(folder_prediction, '_finish', slow_boxes)
    (tmp_path / 'images').mkdir()
    batches = 12
    prediction.write_images(tmp_path / 'images', batches, (8, 8))
    inferencer = prediction.StandIn(1 / seconds)
    start = time.perf_counter()
    predict_folder(inferencer, FolderTask(tmp_path / 'images', tmp_path / 'a.json', 'coco'), 1, 0, False)
    spent = time.perf_counter() - start
    assert inferencer.model.backbone.sleeper.busy >= batches * seconds
    # One after the other they would take four times as long as the network.
    assert spent < 3 * batches * seconds


def test_refused_options(capsys):
    for option, low in (('--images', 1), ('--loaders', 0), ('--images-per-second', 1), ('--batch-size', 1)):
        with pytest.raises(SystemExit):
            prediction.main([option, '-1'])
        assert f"argument {option}: expected an integer from {low}, got '-1'" in capsys.readouterr().err
