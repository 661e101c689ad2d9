"""What the README says of inference runs as it is printed."""

import re
import runpy
import shlex
import sys

from wsol_mm.apis.model_loading import find_config

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from .conftest import save_weights


@pytest.fixture
def section(repo_dir):
    text = (repo_dir / 'README.md').read_text(encoding='utf-8')
    return re.search(r'^## Boxes for a folder of images\n(.*?)^## ', text, re.MULTILINE | re.DOTALL)[1]


@pytest.fixture
def workplace(tmp_path, repo_dir, monkeypatch):
    """A folder with what the README's lines name, in which they are run."""
    for number in range(2):
        (tmp_path / 'photos').mkdir(exist_ok=True)
        image = np.random.default_rng(number).integers(0, 255, (60, 80, 3), np.uint8)
        cv2.imwrite(str(tmp_path / 'photos' / f'{number}.jpg'), image)
    names = tuple(f'class {index}' for index in range(200))
    save_weights(find_config('sat_deit-t_cub')[0], tmp_path / 'checkpoint.pth', names)
    for name in ('configs', 'tools'):
        (tmp_path / name).symlink_to(repo_dir / name, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_lines_of_python_and_the_command(section, workplace, monkeypatch):
    (lines,) = re.findall(r'```python\n(.*?)```', section, re.DOTALL)
    variables = {}
    exec(lines, variables)
    results = variables['results']
    assert [result.path for result in results] == ['photos/0.jpg', 'photos/1.jpg']
    assert all(result.size == (80, 60) and result.boxes.shape == (1, 4) for result in results)
    assert all(len(result.classes) == len(result.scores) == 1 for result in results)
    assert len(list((workplace / 'pictures').iterdir())) == 2

    commands = re.findall(r'```bash\n(.*?)```', section, re.DOTALL)
    (command,) = [command for command in commands if 'predict.py' in command]
    interpreter, script, *arguments = shlex.split(command)
    assert interpreter == 'python'
    monkeypatch.setattr(sys, 'argv', [script, *arguments])
    runpy.run_path(script, run_name='__main__')
    coco = COCO('annotations.json')
    for annotation, result in zip(coco.loadAnns(coco.getAnnIds()), results, strict=True):
        x, y, width, height = annotation['bbox']
        np.testing.assert_allclose([[x, y, x + width, y + height]], result.boxes, atol=0.01)
