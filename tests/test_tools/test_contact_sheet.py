"""The contact sheet: what it draws of a config and a checkpoint, and how it complains."""

import importlib.util

from wsol_mm.apis.contact_sheet import make_sheet
from wsol_mm.evaluation import get_protocol
from wsol_mm.registry import MODELS

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.structures import DataSample
from PIL import Image

TOOL = 'visualization/contact_sheet.py'
GREEN, RED = (60, 200, 60), (230, 40, 40)


@pytest.fixture(scope='module')
def checkpoint(micro_project):
    cfg = Config.fromfile(micro_project.config)
    torch.manual_seed(0)
    path = micro_project.folder / 'random weights.pth'
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict()}, path)
    return path


def count(picture, colour):
    return int((picture[..., ::-1] == colour).all(axis=2).sum())


def test_sheet_shows_boxes_of_the_number_asked_for(run_here, micro_project, checkpoint, tmp_path):
    path = tmp_path / 'a folder' / 'sheet.png'
    options = ['--num', 4, '--tile', 64, '--out', path]
    printed = run_here(TOOL, micro_project.config, checkpoint, *options)
    assert printed.splitlines()[-1] == str(path)
    picture = cv2.imread(str(path))
    # Four samples of four tiles of 64 pixels stand side by side.
    assert picture.shape[1] > 16 * 64 and picture.shape[0] < 250
    assert count(picture, GREEN) > 4 * 60 and count(picture, RED) > 4 * 20


def test_more_images_than_there_are(run_here, micro_project, checkpoint, tmp_path):
    # 9 test images; a protocol that searches its threshold is told one.
    options = ['--num', 50, '--tile', 32, '--protocol', 'maxboxacc', '--threshold', 0.5]
    run_here(TOOL, micro_project.config, checkpoint, *options, '--out', tmp_path / 'all.jpg')
    assert np.ptp(cv2.imread(str(tmp_path / 'all.jpg'))) > 100


def test_sharpened_maps(run_here, micro_project, checkpoint, tmp_path):
    options = ['--num', 4, '--tile', 64, '--refine', 'flip', 'guided', '--out', tmp_path / 'sharp.png']
    run_here(TOOL, micro_project.config, checkpoint, *options)
    picture = cv2.imread(str(tmp_path / 'sharp.png'))
    # No attention of one view stands beside the map of two.
    assert 12 * 64 < picture.shape[1] < 15 * 64
    with pytest.raises(SystemExit, match="refine: expected sides of views .*, got 'sharp'"):
        run_here(TOOL, micro_project.config, checkpoint, *options[:-3], 'sharp', *options[-2:])


@pytest.fixture(scope='module')
def sheet_tool(repo_dir):
    spec = importlib.util.spec_from_file_location('contact_sheet', repo_dir / 'tools' / TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--out', 'a.gif'], "--out: expected a file that ends in .png, .jpg, .jpeg, got 'a.gif'"),
        (['--out', 'a.png', '--num', '0'], '--num: expected an integer from 1, got 0'),
        (['--out', 'a.png', '--tile', '8'], '--tile: expected an integer from 32, got 8'),
        (['--out', 'a.png', '--threshold', '1'], '--threshold: expected a number in [0, 1), got 1.0'),
        (['--out', 'a.png', '--protocol', 'cam'], "--protocol: invalid choice: 'cam' (choose from"),
        (
            ['--out', '/dev/null/a.png'],
            "--out: expected a path that can be written, got '/dev/null/a.png': '/dev/null' is not a",
        ),
        ([], 'required: --out'),
    ],
)
def test_wrong_options_stop_with_one_line(sheet_tool, micro_project, checkpoint, capsys, options, message):
    with pytest.raises(SystemExit):
        sheet_tool.parse_arguments([str(micro_project.config), str(checkpoint), *options])
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize('attention', [True, False])
def test_sheet_has_a_column_for_each_picture(tmp_path, attention):
    Image.new('RGB', (32, 32), 'white').save(tmp_path / 'a.png')
    sample = DataSample(
        metainfo=dict(
            img_path=str(tmp_path / 'a.png'), ori_shape=(32, 32), img_shape=(8, 8), scale_factor=(0.25, 0.25)
        )
    )
    sample.loc_maps, sample.loc_labels = torch.eye(4)[None], torch.tensor([-1])
    sample.set_pred_score(torch.ones(2) / 2).set_pred_label(1)
    if attention:
        sample.attn_map = torch.eye(4)
    sheet = make_sheet([sample], None, get_protocol('sat'), 'title', 100)
    assert sheet.width // 100 == (4 if attention else 3)
