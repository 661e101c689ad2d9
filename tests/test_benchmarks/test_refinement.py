"""The benchmark of views and filters."""

from pathlib import Path

from benchmarks import refinement
from tests.methods import METHODS
from tests.test_benchmarks.test_inference import write_config

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from PIL import Image

QUICK = ['--img-size', '32', '--batch-size', '2', '--repeats', '1']


def write_image(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(folder / '0.png')


def run(tmp_path: Path, *options: str) -> None:
    config = write_config(tmp_path / 'found.py', 'found')
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        assert refinement.main([str(config), *QUICK, *options]) == 0


def test_every_choice_has_a_row(tmp_path, capsys):
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        model = refinement.MODELS.build(METHODS['found'].model_config())
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'weights.pth')
    write_image(tmp_path / 'photos')
    options = ['--checkpoint', str(tmp_path / 'weights.pth'), '--images', str(tmp_path / 'photos')]
    run(tmp_path, *options, '--refine', '32', '64', 'guided', '--refine', 'flip')
    rows = [line.split('|')[1:4] for line in capsys.readouterr().out.splitlines()[3:]]
    assert [name.strip() for name, *_ in rows] == ['', '32 64 guided', 'flip']
    assert all(float(ms) > 0 for _, ms, _ in rows) and float(rows[0][2]) == 1
    # Two views are more work than one.
    assert float(rows[1][2]) > 1


def test_images_come_as_they_are_and_again(tmp_path):
    write_image(tmp_path)
    images = refinement.load_images(tmp_path, 3, 16)
    assert images.shape == (3, 3, 16, 16) and torch.equal(images[0], images[2])
    (tmp_path / 'none').mkdir()
    with pytest.raises(ValueError, match='none: expected images .*, got none'):
        refinement.load_images(tmp_path / 'none', 1, 16)
