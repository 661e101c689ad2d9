"""The throughput tool."""

import importlib.util

import pytest


@pytest.fixture(scope='module')
def tool(repo_dir):
    """The tool as a module."""
    spec = importlib.util.spec_from_file_location(
        'benchmark_dataset', repo_dir / 'tools/analysis_tools/benchmark_dataset.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(tool, repo_dir, cub_root, *more):
    config = str(repo_dir / 'configs/_base_/datasets/cub.py')
    options = [f'{split}_dataloader.dataset.data_root={cub_root}' for split in ('train', 'test')]
    return tool.main([config, '--repeats', '1', '--cfg-options', *options, *more])


def test_tables(tool, repo_dir, cub_root, capsys):
    assert (
        run(tool, repo_dir, cub_root, '--num-workers', '0', '1', '--max-images', '4', '--batch-size', '3')
        == 0
    )
    text = capsys.readouterr().out
    assert 'CUB, train: 6 images' in text
    assert '4 images per pass, batches of 3, best of 1' in text
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert float(lines['0'][1]) > 0 and float(lines['1'][1]) > 0
    assert float(lines['all'][1]) > 0
    assert lines['2'][1] == 'Resize'


def test_test_split(tool, repo_dir, cub_root, capsys):
    assert run(tool, repo_dir, cub_root, '--split', 'test', '--num-workers', '0') == 0
    assert 'CUB, test: 3 images' in capsys.readouterr().out


def test_refused_arguments(tool, repo_dir, cub_root, capsys):
    for option, value in (('--max-images', '0'), ('--repeats', '-1'), ('--num-workers', '-2')):
        with pytest.raises(SystemExit):
            run(tool, repo_dir, cub_root, option, value)
        assert f'{option} is {value}; accepted are integers >=' in capsys.readouterr().err
    with pytest.raises(KeyError, match='has no train_dataloader'):
        tool.main([str(repo_dir / 'configs/_base_/default_runtime.py')])
