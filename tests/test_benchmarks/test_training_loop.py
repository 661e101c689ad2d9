"""The stand-in for a network in a training, and what the tool says of it."""

import json

from benchmarks import training_loop

import pytest
import torch


def test_samples_are_bytes_of_the_crop(tmp_path):
    files = training_loop.make_files(tmp_path, 2)
    for paths in (None, files):
        sample = training_loop.RepeatedImages(3, paths)[1]
        assert sample['inputs'].shape == (3, 224, 224) and sample['inputs'].dtype == torch.uint8
        assert sample['data_samples'].gt_label.tolist() == [1]


def test_report(tmp_path, capsys):
    out = tmp_path / 'report.json'
    arguments = ['--images', '96', '--batch-size', '16', '--images-per-second', '400', '--workers', '0']
    assert training_loop.main([*arguments, '--out', str(out)]) == 0
    assert '400/s' in capsys.readouterr().out
    report = json.loads(out.read_text())
    (result,) = report['results']
    # Nothing is faster than the network.
    assert 0 < result['images_per_second'] <= 400
    assert result['expected'] == pytest.approx(1 / (1 / 400 + report['loop'] + report['load']))
    assert 0 <= result['waits'] < 1


def test_too_few_images(capsys):
    with pytest.raises(SystemExit):
        training_loop.main(['--images', '128'])
    assert '--images: expected more than --batch-size, got 128' in capsys.readouterr().err
