"""What the data browser shows of a pipeline."""

import importlib.util

from wsol_mm.visualization.pipeline_geometry import PipelineGeometry

import cv2
import numpy as np
import pytest
import torch

TOOL = 'visualization/browse_dataset.py'
GREEN = (60, 200, 60)


@pytest.fixture(scope='module')
def tool(repo_dir):
    spec = importlib.util.spec_from_file_location('browse_dataset', repo_dir / 'tools' / TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(('split', 'variants'), [('train', 5), ('val', 1), ('test', 1)])
def test_every_split(run_here, micro_project, tmp_path, split, variants):
    arguments = ['--split', split, '--out-dir', tmp_path / 'browsed', '-n', 3, '--tile', 64]
    printed = run_here(TOOL, micro_project.config, *arguments)
    path = tmp_path / 'browsed' / f'{split}_1.png'
    assert printed.splitlines()[-1] == str(path)
    green = (cv2.imread(str(path))[..., ::-1] == GREEN).all(axis=2)
    # Boxes of training data are read for this; each tile has one.
    assert green.sum() > 3 * (1 + variants) * 60


def test_many_variants_take_several_pictures(run_here, micro_project, tmp_path):
    arguments = ['--out-dir', tmp_path, '-n', 3, '--variants', 17, '--tile', 64]
    run_here(TOOL, micro_project.config, *arguments)
    assert len(list(tmp_path.iterdir())) == 2, 'two images of three lines in each'


def test_unknown_geometry_is_said_and_nothing_is_drawn(tool, tmp_path):
    from mmengine.dataset import Compose
    from mmpretrain.structures import DataSample

    class Scramble:
        def __call__(self, results):
            results['img'] = np.random.permutation(results['img'].reshape(-1, 3)).reshape(
                results['img'].shape
            )
            return results

    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((40, 40, 3), np.uint8))
    sample = DataSample(metainfo=dict(img_path=str(tmp_path / 'a.png'), img_id='a.png', ori_shape=(40, 40)))
    sample.set_gt_label(0).gt_bboxes = np.array([[5.0, 5, 30, 30]])
    geometry = PipelineGeometry()

    class OneImage:
        pipeline = Compose([Scramble()])

        def __getitem__(self, index):
            results = self.pipeline({'img': np.zeros((40, 40, 3), np.uint8)})
            return {'inputs': torch.from_numpy(results['img'].transpose(2, 0, 1)), 'data_samples': sample}

    geometry.follow(OneImage.pipeline)
    row = tool.image_row(OneImage(), geometry, 0, 2, 64)
    assert list(row.labels) == ['file, 40x40', '1: no box, Scramble?', '2: no box, Scramble?']
    drawn = [(np.asarray(tile) == GREEN).all(axis=2).any() for tile in row.tiles]
    assert drawn == [True, False, False]


def test_ten_crops_show_the_centre(tool):
    crops = torch.zeros(10, 3, 4, 4, dtype=torch.uint8)
    crops[4, 0] = 255  # blue of BGR
    assert tool.input_picture(crops)[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize('option', ['num', 'variants', 'tile'])
def test_wrong_options_stop_with_one_line(tool, micro_project, capsys, option):
    with pytest.raises(SystemExit):
        tool.parse_arguments([str(micro_project.config), '--out-dir', 'x', f'--{option}', '0'])
    (line,) = capsys.readouterr().err.splitlines()
    assert f'--{option}: expected an integer from ' in line and 'got 0' in line
