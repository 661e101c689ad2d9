"""The guides to adding a method, a data set and a protocol work as printed, in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.forked_tools import run_forked
from wsol_mm.registry import MODELS

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample

#: A block whose first line is the path of a file, and what the file holds.
FILE = re.compile(
    r'^```(?:python|yaml|markdown)\n# ([\w./-]+\.(?:py|yml|md))\n(.*?)^```', re.MULTILINE | re.DOTALL
)
#: A block of one line, to be put into a file that is there.
LINE = re.compile(r'^```python\n((?:from|Method|LocalizationProtocol)\b.*)\n```', re.MULTILINE)
FOLDERS = ('configs', 'docs', 'tests', 'tools', 'wsol_mm')
FILES = ('README.md', 'README.zh-CN.md', 'model-index.yml', 'dataset-index.yml', 'pyproject.toml')


@pytest.fixture
def tree(repo_dir, tmp_path) -> Path:
    """A copy of the repository, without its large files; what is compiled need not be compiled again."""
    for name in FOLDERS:
        ignored = shutil.ignore_patterns('.mim', 'data', 'images')
        shutil.copytree(repo_dir / name, tmp_path / name, ignore=ignored)
    for name in FILES:
        shutil.copy(repo_dir / name, tmp_path / name)
    for name in ('tests/data', 'docs/images'):
        (tmp_path / name).symlink_to(repo_dir / name)
    return tmp_path


def contents(tree: Path) -> dict[str, str]:
    """Return the text of all files of a tree, by path."""
    paths = (path for path in tree.rglob('*') if path.suffix in ('.py', '.md', '.yml'))
    return {path.relative_to(tree).as_posix(): path.read_text(encoding='utf-8') for path in paths}


def write_files(tree: Path, guide: str) -> list[str]:
    """Write the files that a guide prints; return their paths."""
    blocks = FILE.findall((tree / guide).read_text(encoding='utf-8'))
    for name, text in blocks:
        assert not (tree / name).exists(), f'{guide}: {name} is there already'
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text, encoding='utf-8')
    return [name for name, _ in blocks]


def printed_line(tree: Path, guide: str, start: str) -> str:
    """Return the line that a guide asks to put into a file, by its first word."""
    (line,) = (
        line for line in LINE.findall((tree / guide).read_text(encoding='utf-8')) if line.startswith(start)
    )
    return line


def export(tree: Path, module: str, guide: str) -> None:
    """Add the import that a guide prints to an ``__init__.py``, and its name to ``__all__``."""
    line = printed_line(tree, guide, 'from')
    path = tree / module
    text = path.read_text(encoding='utf-8')
    name = line.rpartition(' ')[2]
    path.write_text(text.replace('\n__all__ = [', f'{line}\n\n__all__ = [{name!r}, ', 1), encoding='utf-8')


def insert(tree: Path, module: str, line: str, before: str) -> None:
    """Put a line before the first occurrence of a text."""
    path = tree / module
    text = path.read_text(encoding='utf-8')
    assert before in text, f'{module}: no {before!r}'
    path.write_text(text.replace(before, f'{line}\n        {before}', 1), encoding='utf-8')


def run(tree: Path, *arguments: str) -> None:
    """Run Python in a tree, with the package of that tree."""
    environment = {**os.environ, 'PYTHONPATH': str(tree), 'OMP_NUM_THREADS': '1'}
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', *arguments],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


def test_method(tree):
    guide = 'docs/adding/method.md'
    before = contents(tree)
    created = write_files(tree, guide)
    assert len(created) == 5  # head, test, config, README, metafile
    export(tree, 'wsol_mm/models/heads/__init__.py', guide)
    insert(tree, 'tests/methods.py', printed_line(tree, guide, 'Method'), before="Method('ts-cam'")
    edited = {name for name, text in contents(tree).items() if before.get(name, text) != text}
    assert edited == {'wsol_mm/models/heads/__init__.py', 'tests/methods.py'}
    run(tree, 'docs/generate_tables.py')
    generated = {name for name, text in contents(tree).items() if before.get(name, text) != text} - edited
    assert generated == {'README.md', 'README.zh-CN.md', 'docs/methods.md', 'model-index.yml'}
    # The head's own test, a step of the config, every backbone, the tables and the indexes.
    tests = [
        *(name for name in created if name.startswith('tests/')),
        'tests/test_configs/test_configs.py',
        'tests/test_models/test_combinations.py',
        'tests/test_packaging/test_generated_tables.py',
        'tests/test_packaging/test_indexes.py',
    ]
    run(tree, '-m', 'pytest', '-q', '-x', '-k', 'my-method or my_head or packaging', *tests)


def test_data_set(tree):
    guide = 'docs/adding/data_set.md'
    created = write_files(tree, guide)
    export(tree, 'wsol_mm/datasets/__init__.py', guide)
    (test,) = (name for name in created if name.startswith('tests/'))
    (base,) = (name for name in created if name.startswith('configs/'))
    script = (
        'import pytest\n'
        f'assert pytest.main(["-q", "-x", {test!r}]) == 0\n'
        'from mmengine.config import Config\n'
        'from wsol_mm.registry import DATASETS\n'
        f'cfg = Config.fromfile({base!r})\n'
        'for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):\n'
        '    assert DATASETS.build(dict(loader.dataset, lazy_init=True)).data_root == "data/my_birds"\n'
    )
    run(tree, '-c', script)


def test_protocol(tree):
    guide = 'docs/adding/protocol.md'
    (test,) = write_files(tree, guide)
    line = printed_line(tree, guide, 'LocalizationProtocol')
    insert(tree, 'wsol_mm/evaluation/protocols.py', line, before="LocalizationProtocol('ts_cam'")
    run(tree, '-m', 'pytest', '-q', '-x', test)


def take_a_step(config: Path) -> None:
    """Train the model of a config for a step, and test it."""
    torch.set_num_threads(1)
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    cfg.model.pretrained = None
    cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    images = torch.randint(0, 256, (2, 3, 112, 112), dtype=torch.uint8)
    batch = dict(inputs=images, data_samples=[DataSample().set_gt_label(i) for i in (0, 1)])
    assert model.train().train_step(batch, optimizer)['loss'].isfinite()
    with torch.no_grad():
        (sample, _) = model.eval().test_step(batch)
    assert sample.loc_maps.shape[0] == 6 and sample.loc_maps.isfinite().all()


def test_backbone(repo_dir, tmp_path):
    text = (repo_dir / 'docs/adding/backbone.md').read_text(encoding='utf-8')
    blocks = re.findall(r'^```python\n(_base_.*?)^```', text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for number, block in enumerate(blocks):
        assert len(block.strip().splitlines()) < 11
        config = tmp_path / f'guide{number}.py'
        config.write_text(block.replace("'../_base_", f"'{repo_dir}/configs/_base_"), encoding='utf-8')
        assert run_forked(take_a_step, config) == 0
