"""A model without training, photographs, and the tool in this process."""

import importlib.util
import sys
from pathlib import Path

from wsol_mm.registry import MODELS

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from ..conftest import CLASSES


def write_photos(folder: Path, count: int) -> None:
    """Write images of the classes' folders; every tenth is torn, every seventh deeper down."""
    generator = np.random.default_rng(0)
    for number in range(count):
        image = generator.integers(0, 120, (40, 48, 3), np.uint8)
        x, y = generator.integers(0, 20, 2)
        image[y : y + 18, x : x + 20, number % 3] = 255
        inside = 'inside/' if number % 7 == 0 else ''
        file = folder / CLASSES[number % 3] / f'{inside}{number:04d}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        content = cv2.imencode('.png', image)[1].tobytes()
        file.write_bytes(content[:100] if number % 10 == 4 else content)


@pytest.fixture(scope='module')
def checkpoint(micro_project):
    cfg = Config.fromfile(micro_project.config)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        weights = MODELS.build(cfg.model).state_dict()
    path = micro_project.folder / 'weights to predict.pth'
    torch.save({'state_dict': weights, 'meta': {'dataset_meta': {'classes': CLASSES}}}, path)
    return path


@pytest.fixture(scope='module')
def photos(micro_project):
    folder = micro_project.folder / 'photos'
    write_photos(folder, 40)
    return folder


@pytest.fixture(scope='module')
def tool(repo_dir):
    spec = importlib.util.spec_from_file_location('predict', repo_dir / 'tools' / 'predict.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def predict(tool, micro_project, checkpoint, photos, monkeypatch, capsys):
    """Run the tool in this process; give its exit status and what it prints."""

    def run(*options: object, folder: Path = photos) -> tuple[object, str]:
        arguments = [
            micro_project.config,
            checkpoint,
            folder,
            '--num-workers',
            0,
            '--device',
            'cpu',
            *options,
        ]
        monkeypatch.setattr(sys, 'argv', ['predict.py', *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            tool.main()
        except SystemExit as error:
            status = error.code
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


@pytest.fixture
def one_thread():
    """One thread, as in the other processes: the last digits of sums may depend on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


TORN = [f'{CLASSES[n % 3]}/{"inside/" if n % 7 == 0 else ""}{n:04d}.png' for n in (4, 14, 24, 34)]
