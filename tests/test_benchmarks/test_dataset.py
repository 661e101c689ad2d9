"""The throughput of a data set."""

from benchmarks import dataset
from wsol_mm.datasets.shapes.embedded_shapes import EmbeddedShapesSpec, write_embedded_shapes

import pytest


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    """Ten classes of two training images and a test image, in the layout of CUB-200-2011."""
    root = tmp_path_factory.mktemp('shapes')
    write_embedded_shapes(root, EmbeddedShapesSpec(train_per_class=2, test_per_class=1, size=48), workers=1)
    return root


@pytest.fixture
def run(repo_dir, data_root, capsys):
    """Run the benchmark, with further options; give what it prints."""

    def run(*more: str) -> str:
        config = str(repo_dir / 'configs/_base_/datasets/cub.py')
        options = [f'{split}_dataloader.dataset.data_root={data_root}' for split in ('train', 'test')]
        assert dataset.main([config, '--repeats', '1', '--cfg-options', *options, *more]) == 0
        return capsys.readouterr().out

    return run


def test_tables(run):
    text = run('--num-workers', '0', '1', '--max-images', '4', '--batch-size', '3')
    assert 'CUB, train: 20 images' in text
    assert '4 images per pass, batches of 3, best of 1' in text
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert float(lines['0'][1]) > 0 and float(lines['1'][1]) > 0
    assert float(lines['all'][1]) > 0
    assert lines['2'][1] == 'Resize'


def test_test_split(run):
    assert 'CUB, test: 10 images' in run('--split', 'test', '--num-workers', '0')


def test_refused_arguments(run, repo_dir, capsys):
    for option, value, low in (('--max-images', '0', 1), ('--repeats', '-1', 1), ('--num-workers', '-2', 0)):
        with pytest.raises(SystemExit):
            run(option, value)
        assert f"argument {option}: expected an integer from {low}, got '{value}'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match='expected a config with train_dataloader'):
        dataset.main([str(repo_dir / 'configs/_base_/default_runtime.py')])
