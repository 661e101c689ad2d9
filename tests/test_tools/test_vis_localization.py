"""Pictures of a config and a checkpoint: of its test data, and of images of one's own."""

import importlib.util

from wsol_mm.registry import MODELS

import cv2
import pytest
import torch
from mmengine.config import Config

TOOL = 'visualization/vis_localization.py'
GREEN, RED = (60, 200, 60), (230, 40, 40)


@pytest.fixture(scope='module')
def checkpoint(micro_project):
    cfg = Config.fromfile(micro_project.config)
    torch.manual_seed(0)
    path = micro_project.folder / 'weights of pictures.pth'
    meta = {'dataset_meta': {'classes': ['red', 'green', 'blue']}}
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict(), 'meta': meta}, path)
    return path


@pytest.fixture(scope='module')
def tool(repo_dir):
    spec = importlib.util.spec_from_file_location('vis_localization', repo_dir / 'tools' / TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def count(path, colour):
    return int((cv2.imread(str(path))[..., ::-1] == colour).all(axis=2).sum())


def test_pictures_and_sheet_of_the_test_data(run_here, micro_project, checkpoint, tmp_path):
    folder = tmp_path / 'new' / 'pictures'
    printed = run_here(TOOL, micro_project.config, checkpoint, '--out-dir', folder, '-n', 3)
    assert printed.splitlines()[-2:] == [
        str(folder / 'contact_sheet_1.png'),
        f'3 pictures, one for each image: {folder}',
    ]
    assert len(list(folder.iterdir())) == 4
    for path in folder.iterdir():
        assert count(path, GREEN) > 60 and count(path, RED) > 20
    # Six tiles of 160 pixels; two layers below.
    assert cv2.imread(str(folder / '001.Red_005.png.png')).shape[1] > 6 * 160


def test_images_of_ones_own_need_no_data_set(run_here, micro_project, checkpoint, tmp_path):
    images = micro_project.folder / 'cub' / 'images'
    arguments = [images / '001.Red', images / '002.Green' / '008.png', '--out-dir', tmp_path, '--tile', 64]
    options = ['--protocol', 'maxboxacc', '--threshold', 0.3]
    options += ['--cfg-options', 'test_dataloader.dataset.data_root=nowhere']
    run_here(TOOL, micro_project.config, checkpoint, *arguments, *options)
    found = list(tmp_path.iterdir())
    assert len(found) == 7 + 1 + 1
    assert not any(count(path, GREEN) for path in found), 'there is no ground truth'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--num', '0'], '--num: expected an integer from 1, got 0'),
        (['--tile', '8'], '--tile: expected an integer from 64, got 8'),
        (['--threshold', '1'], '--threshold: expected a number in [0, 1), got 1.0'),
        (['--protocol', 'cam'], "--protocol: invalid choice: 'cam' (choose from"),
        (
            ['--out-dir', '/dev/null/x'],
            "--out-dir: expected a path that can be written, got '/dev/null/x': '/dev/null' is not a",
        ),
    ],
)
def test_wrong_options_stop_with_one_line(tool, micro_project, checkpoint, capsys, options, message):
    arguments = [str(micro_project.config), str(checkpoint), '--out-dir', 'x']
    with pytest.raises(SystemExit):
        tool.parse_arguments([*arguments, *options])
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_missing_image_stops_before_the_model_is_built(tool, micro_project, checkpoint, monkeypatch):
    arguments = ['x', str(micro_project.config), str(checkpoint), 'nowhere.jpg', '--out-dir', 'x']
    monkeypatch.setattr('sys.argv', arguments)
    with pytest.raises(SystemExit, match='error: nowhere.jpg: expected an image file or a folder'):
        tool.main()


def test_names_of_pictures_differ(tool):
    taken = set()
    names = [tool.picture_name(name, taken) for name in ('dog/1.jpg', '1.jpg', '1.jpg', '1.jpg')]
    assert names == ['dog_1.jpg.png', '1.jpg.png', '1.jpg_2.png', '1.jpg_3.png']
