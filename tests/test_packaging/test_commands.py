"""Commands, configs and code in the documents: each command is understood by the tool that it calls."""

import argparse
import ast
import re
import runpy
import shlex
import sys
from pathlib import Path

from wsol_mm.registry import METRICS, MODELS

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

REPO_DIR = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path for pattern in ('*.md', 'docs/**/*.md', 'configs/*/README.md') for path in REPO_DIR.glob(pattern)
)
BLOCK = re.compile(r'^```(\w+)\n(.*?)^```', re.MULTILINE | re.DOTALL)
INLINE = re.compile(r'`((?:python|bash) tools/[^`\n]+)`')
ASSIGNMENT = re.compile(r'([A-Z_]+)=(.*)')
# What a reader puts in.
PLACEHOLDERS = {
    'CONFIG': 'configs/ts_cam/ts-cam_deit-s_cub.py',
    'CHECKPOINT': 'checkpoint.pth',
    'FOLDER': 'images',
    'DATA': 'images',
    'WEIGHTS': 'weights.pth',
    'FILE': 'file.json',
    'DIR': 'folder',
    'N': '1',
}
LAUNCHERS = {
    # The tool that a launch script runs, and which of its arguments are the script's own.
    'tools/dist_train.sh': ('tools/train.py', 1),
    'tools/dist_test.sh': ('tools/test.py', 2),
}
# Commands that are no tools of this repository.
OTHERS = (
    'pip install',
    'MMCV_WITH_OPS=0 pip install',
    'python="$(bash tools/setup_env.sh',
    'python -m mkdocs',
    'mim download',
    'jupyter lab',
    'tensorboard',
    '--',  # options alone, which the text adds to a command
)


def shell_lines(text):
    """Yield the commands of a document, with its shell variables put in."""
    variables = {}
    for language, code in BLOCK.findall(text):
        if language not in ('bash', 'shell', 'sh'):
            continue
        for line in code.replace('\\\n', ' ').splitlines():
            line = re.sub(r'(^|\s)#.*', '', line).strip()
            assignment = ASSIGNMENT.fullmatch(line)
            if assignment:
                variables[assignment[1]] = assignment[2].strip('"')
            elif line:
                yield re.sub(r'\$([A-Z_]+)', lambda match: variables[match[1]], line)  # noqa: B023
    for code in INLINE.findall(BLOCK.sub('', text)):
        yield re.sub(r'\$([A-Z_]+)', lambda match: variables[match[1]], code)


def all_commands():
    found = {}
    for document in DOCUMENTS:
        for command in shell_lines(document.read_text(encoding='utf-8')):
            found.setdefault(' '.join(command.split()), document.relative_to(REPO_DIR).as_posix())
    return found


COMMANDS = all_commands()


def tool_commands():
    """Return the arguments of the commands that call a Python tool, directly or through a launch script."""
    for command in COMMANDS:
        words = shlex.split(command)
        if words[:1] == ['python'] and words[1].startswith('tools/'):
            yield command, words[1], words[2:]
        elif words[:1] == ['bash'] and words[1] in LAUNCHERS and len(words) > 2:
            tool, own = LAUNCHERS[words[1]]
            yield command, tool, words[2 : 2 + own] + words[3 + own :]


TOOL_COMMANDS = list(tool_commands())


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
    assert (REPO_DIR / words[1]).is_file(), f'{document}: {words[1]}'


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
    with pytest.raises(Parsed) as parsed:
        runpy.run_path(str(REPO_DIR / tool), run_name='__main__')
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


@pytest.mark.parametrize(
    'command', [command for command, tool, _ in TOOL_COMMANDS if tool == 'tools/misc/print_config.py']
)
def test_quick_commands_run(reader_dir, monkeypatch, capsys, command):
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(command)[1:]]
    monkeypatch.setattr(sys, 'argv', words)
    runpy.run_path(str(REPO_DIR / words[0]), run_name='__main__')
    assert 'ImageLocalizer' in capsys.readouterr().out


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
    folder = tmp_path / 'configs' / 'mine'
    folder.mkdir(parents=True)
    (tmp_path / 'configs' / '_base_').symlink_to(REPO_DIR / 'configs' / '_base_')
    for config in REPO_DIR.glob('configs/*/*.py'):
        (folder / config.name).symlink_to(config)
    path = folder / 'my_config.py'
    path.write_text(code)
    cfg = Config.fromfile(path)
    with DefaultScope.overwrite_default_scope('wsol_mm'), torch.device('meta'):
        MODELS.build({**cfg.model, 'pretrained': None})
        if 'test_evaluator' in cfg:
            METRICS.build(cfg.test_evaluator)
