"""The notebooks run from their first to their last cell, and are stored without outputs."""

from wsol_mm.datasets.shapes.embedded_shapes import EmbeddedShapesSpec, write_embedded_shapes
from wsol_mm.registry import MODELS

import nbformat
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from nbclient import NotebookClient

NOTEBOOKS = ('ts_cam_cub.ipynb', 'ts_cam_ilsvrc.ipynb')
CONFIG = 'configs/ts_cam/ts-cam_vit-micro_shapes.py'


@pytest.fixture(scope='module')
def parameters(tmp_path_factory, repo_dir):
    """The first code cell, for a small data set and a model with random weights."""
    folder = tmp_path_factory.mktemp('notebook data')
    write_embedded_shapes(
        folder / 'shapes', EmbeddedShapesSpec(seed=0, train_per_class=1, test_per_class=1, size=64)
    )
    cfg = Config.fromfile(repo_dir / CONFIG)
    init_default_scope('wsol_mm')
    torch.manual_seed(0)
    model = MODELS.build({'data_preprocessor': cfg.data_preprocessor, **cfg.model})
    meta = {'dataset_meta': {'classes': [f'thing {i}' for i in range(10)]}}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, folder / 'random.pth')
    options = {'test_dataloader.dataset.data_root': str(folder / 'shapes')}
    return dict(CONFIG=CONFIG, CHECKPOINT=str(folder / 'random.pth'), IMAGES=[], NUM=2, CFG_OPTIONS=options)


def run(path, parameters):
    notebook = nbformat.read(path, as_version=4)
    cell = next(cell for cell in notebook.cells if cell.cell_type == 'code')
    names = [line.partition(' = ')[0] for line in cell.source.splitlines() if ' = ' in line]
    assert names == list(parameters), 'the first code cell holds the parameters and nothing else'
    cell.source = '\n'.join(f'{name} = {value!r}' for name, value in parameters.items())
    NotebookClient(notebook, timeout=300, resources={'metadata': {'path': str(path.parent)}}).execute()
    return notebook


def pictures(notebook):
    outputs = [output for cell in notebook.cells if cell.cell_type == 'code' for output in cell.outputs]
    return [output for output in outputs if 'image/png' in output.get('data', {})]


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_every_section_draws_each_image(repo_dir, parameters, name):
    # Three sections of two images.
    assert len(pictures(run(repo_dir / 'demo' / name, parameters))) == 6


def test_images_of_the_user(repo_dir, parameters):
    folder = parameters['CFG_OPTIONS']['test_dataloader.dataset.data_root']
    # Labels, boxes and the data set itself are not needed.
    changed = {**parameters, 'IMAGES': [f'{folder}/images/001.ladybird'], 'CFG_OPTIONS': {}}
    notebook = run(repo_dir / 'demo' / NOTEBOOKS[0], changed)
    assert len(pictures(notebook)) == 3 * 2


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_stored_without_outputs(repo_dir, name):
    notebook = nbformat.read(repo_dir / 'demo' / name, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type != 'code' or (not cell.outputs and cell.execution_count is None)
