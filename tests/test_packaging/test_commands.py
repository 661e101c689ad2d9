"""Commands, configs and code in the documents: each command is understood by the tool that it calls."""

import argparse
import ast
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

from tests.documented_commands import (
    BLOCK,
    COMMANDS,
    DOCUMENTS,
    OTHERS,
    PLACEHOLDERS,
    REPO_DIR,
    called_file,
    tool_call,
)
from wsol_mm.registry import METRICS, MODELS

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

TOOL_COMMANDS = [(command, *call) for command in COMMANDS if (call := tool_call(command)) is not None]


class Parsed(Exception):
    """Raised in place of going on after the command line has been parsed."""


@pytest.fixture
def reader_dir(tmp_path, monkeypatch):
    """A folder in which a reader might stand: the tools and configs, and files that commands name."""
    for name in ('configs', 'tools', 'tests', 'wsol_mm', 'demo'):
        if (REPO_DIR / name).exists():
            (tmp_path / name).symlink_to(REPO_DIR / name)
    for name in ('images', 'folder'):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_documents_have_commands():
    assert len(COMMANDS) > 60 and len(TOOL_COMMANDS) > 50


@pytest.mark.parametrize('command', COMMANDS)
def test_command_is_known(command):
    """Nothing is left out: a command calls a tool or a script that exists, or a program that is known."""
    document = COMMANDS[command]
    if command.startswith(OTHERS):
        for name in re.findall(r'(?:-r|jupyter lab) (\S+)', command):
            assert (REPO_DIR / name).is_file(), f'{document}: {name}'
        return
    words = shlex.split(command)
    assert words[0] in ('python', 'bash') and len(words) > 1, f'{document}: {command}'
    file, _ = called_file(words)
    assert (REPO_DIR / file).is_file(), f'{document}: {file}'


@pytest.mark.parametrize(
    ('tool', 'arguments'), [case[1:] for case in TOOL_COMMANDS], ids=[case[0] for case in TOOL_COMMANDS]
)
def test_tool_understands_the_command(reader_dir, monkeypatch, tool, arguments):
    arguments = [PLACEHOLDERS.get(word, word) for word in arguments if word != '...']
    for word in arguments:
        path = reader_dir / word.rpartition('=')[2]  # with a label before it in plot_results.py
        if path.suffix in ('.pth', '.pkl', '.json', '.csv', '.safetensors'):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    parse = argparse.ArgumentParser.parse_args

    def stop_after_parsing(self, args=None, namespace=None):
        raise Parsed(parse(self, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', stop_after_parsing)
    monkeypatch.setattr(sys, 'argv', [tool, *arguments])
    monkeypatch.syspath_prepend(str(REPO_DIR / Path(tool).parent))
    monkeypatch.syspath_prepend(str(REPO_DIR))
    module = tool.removesuffix('.py').replace('/', '.')
    run, target = (
        (runpy.run_module, module) if module.startswith('benchmarks.') else (runpy.run_path, REPO_DIR / tool)
    )
    with pytest.raises(Parsed) as parsed:
        run(str(target), run_name='__main__')
    options = vars(parsed.value.args[0])
    if options.get('cfg_options') and isinstance(options.get('config'), str):
        cfg = Config.fromfile(options['config'])
        for key in options['cfg_options']:
            parent = key.rpartition('.')[0]
            assert parent in flat_keys(cfg.to_dict()), f'{options["config"]} has no {parent}'


def flat_keys(settings, prefix=''):
    """Return the dotted names of all dictionaries and entries of a config, and '' for the config itself."""
    keys = {''}
    items = settings.items() if isinstance(settings, dict) else enumerate(settings)
    for key, value in items:
        name = f'{prefix}{key}'
        keys.add(name)
        if isinstance(value, dict | list | tuple):
            keys |= flat_keys(value, f'{name}.')
    return keys


def python_blocks(starts_with=''):
    for document in DOCUMENTS:
        for language, code in BLOCK.findall(document.read_text(encoding='utf-8')):
            if language == 'python' and re.sub(r'^#.*\n', '', code).startswith(starts_with):
                yield pytest.param(code, id=f'{document.relative_to(REPO_DIR)}: {code[:40]!r}')


@pytest.mark.parametrize('code', list(python_blocks()))
def test_python_is_python(code):
    ast.parse(code)


@pytest.mark.parametrize('code', list(python_blocks('_base_ = ')))
def test_configs_in_documents_build(tmp_path, code):
    if 'MyHead' in code or 'my-method' in code:
        pytest.skip('a method of the reader')
    configs = shutil.copytree(REPO_DIR / 'configs', tmp_path / 'configs')
    # in the folder that its first line names, or beside the config that it inherits from
    named, base = re.match(r'# configs/(\w+)/', code), re.search(r"'\./([\w-]+\.py)'", code)
    folder = configs / (named[1] if named else 'mine')
    if base:
        folder = next(configs.glob(f'*/{base[1]}')).parent
    folder.mkdir(exist_ok=True)
    path = folder / 'my_config.py'
    path.write_text(code)
    cfg = Config.fromfile(path)
    # mmpretrain's networks read numbers while they are built
    device = 'cpu' if 'mmpretrain.' in code else 'meta'
    with DefaultScope.overwrite_default_scope('wsol_mm'), torch.device(device):
        MODELS.build({**cfg.model, 'pretrained': None})
        if 'test_evaluator' in cfg:
            METRICS.build(cfg.test_evaluator)
