"""tools/setup_env.sh: what it installs, in which order, what it leaves alone; with a stand-in for Python."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Behaves as python, python -m venv and python -m pip do; state.json beside it says what is installed.
STAND_IN = """#!{python} -IS
import json
import shutil
import sys
from pathlib import Path

here = Path(__file__).absolute().parent
state_file = here / 'state.json'
state = json.loads(state_file.read_text())
match sys.argv[1:]:
    case ['--version']:
        print('Python', '.'.join(map(str, state['python'])))
    case ['-c', code, *rest] if 'metadata.version' in code:
        print(state['installed'].get(rest[0], ''))
    case ['-c', code] if 'sys.exit(' in code:
        sys.exit(tuple(state['python']) < (3, 10))
    case ['-c', code] if 'print(' in code:
        print('.'.join(map(str, state['python'])))
    case ['-c', 'import cv2']:
        sys.exit('opencv-python' in state['installed'] and state['lacks_libgl'])
    case ['-W', 'ignore', '-c', 'import wsol_mm.registry']:
        sys.exit(state['import_error'])
    case ['-m', 'venv', folder]:
        shutil.copytree(here, Path(folder) / 'bin')
        sys.exit(state['venv_error'])
    case ['-m', 'pip', *arguments]:
        constraint = arguments[arguments.index('--constraint') + 1] if '--constraint' in arguments else None
        names = [name for name in arguments[1:] if not name.startswith('-') and name != constraint]
        state['calls'].append([arguments[0], *names, *(['--no-deps'] if '--no-deps' in arguments else [])])
        if constraint is not None:
            state['constraints'] = Path(constraint).read_text().splitlines()
        if any(name.endswith('runtime.txt') for name in names):
            state['installed']['opencv-python'] = '5.0.0.93'
        state_file.write_text(json.dumps(state))
    case arguments:
        sys.exit(f'unexpected: {{arguments}}')
"""


class Tree:
    """A source tree with the set-up script, and an environment or PATH with a stand-in for Python.

    Attributes:
        root (Path): The source tree.
        bin (Path): Folder of the stand-in.
    """

    def __init__(self, repo: Path, folder: Path) -> None:
        self.root = folder / 'source tree'
        (self.root / 'tools').mkdir(parents=True)
        shutil.copy2(repo / 'tools' / 'setup_env.sh', self.root / 'tools')
        shutil.copytree(repo / 'requirements', self.root / 'requirements')
        for name in ('setup.py', 'pyproject.toml'):
            shutil.copy2(repo / name, self.root)
        self.bin = folder / 'environment' / 'bin'
        self.bin.mkdir(parents=True)
        for name in ('python', 'python3'):
            (self.bin / name).write_text(STAND_IN.format(python=sys.executable))
            (self.bin / name).chmod(0o755)
        self.set_state()

    def set_state(self, **state: object) -> None:
        """Say what the stand-in finds."""
        default = dict(
            python=[3, 11, 7], installed={}, calls=[], lacks_libgl=False, import_error=0, venv_error=0
        )
        (self.bin / 'state.json').write_text(json.dumps(default | state))

    def state(self, folder: Path | None = None) -> dict:
        """Return what the stand-in recorded."""
        return json.loads(((folder or self.bin) / 'state.json').read_text())

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        """Run the script with the stand-in's environment active, or as the variables say."""
        variables = {'PATH': os.environ['PATH'], **(environment or {'VIRTUAL_ENV': str(self.bin.parent)})}
        return subprocess.run(
            ['bash', str(self.root / 'tools' / 'setup_env.sh'), *arguments],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )


@pytest.fixture
def tree(repo_dir, tmp_path) -> Tree:
    return Tree(repo_dir, tmp_path)


def expected_calls(tree: Tree, *, torch: bool = True, openmmlab: bool = True, tests: bool = True) -> list:
    """Return pip's calls for an installation of those parts."""
    requirements = tree.root / 'requirements'
    lines = (requirements / 'pins.txt').read_text().splitlines()
    pins = dict(line.split('==') for line in lines if not line.startswith('#'))
    calls = [['install', f'setuptools=={pins["setuptools"]}']]
    calls += [['install', f'torch=={pins["torch"]}']] * torch
    calls += [['install', str(requirements / 'runtime.txt')]]
    calls += [['install', str(requirements / 'mminstall.txt')]] * openmmlab
    calls += [['install', str(requirements / 'tests.txt')]] * tests
    return [*calls, ['install', str(tree.root), '--no-deps']]


def test_installs_torch_first_and_prints_the_python(tree):
    result = tree.run('tests')
    assert result.returncode == 0, result.stderr
    assert result.stdout == f'{tree.bin / "python"}\n'
    assert tree.state()['calls'] == expected_calls(tree)
    assert tree.state()['constraints'] == (tree.root / 'requirements' / 'pins.txt').read_text().splitlines()


def test_runtime_is_the_default_and_lacks_the_test_requirements(tree):
    assert tree.run().returncode == 0
    assert tree.state()['calls'] == expected_calls(tree, tests=False)


def test_a_second_run_installs_nothing(tree):
    tree.run('tests')
    before = tree.state()
    for what in ('tests', 'runtime'):  # tests includes runtime
        result = tree.run(what)
        assert result.stdout == f'{tree.bin / "python"}\n'
        assert 'is up to date' in result.stderr
    assert tree.state() == before


@pytest.mark.parametrize('changed', ['requirements/runtime.txt', 'requirements/pins.txt', 'setup.py'])
def test_a_changed_requirement_installs_again(tree, changed):
    tree.run('runtime')
    with (tree.root / changed).open('a') as file:
        file.write('# changed\n')
    tree.run('runtime')
    assert tree.state()['calls'] == 2 * expected_calls(tree, tests=False)


def test_runtime_does_not_stand_for_tests(tree):
    tree.run('runtime')
    tree.run('tests')
    assert tree.state()['calls'] == expected_calls(tree, tests=False) + expected_calls(tree)


def test_keeps_an_installed_torch_and_lets_torchvision_follow(tree):
    tree.set_state(installed={'torch': '2.12.1+cu130'})
    result = tree.run('runtime')
    assert result.returncode == 0, result.stderr
    assert tree.state()['calls'] == expected_calls(tree, torch=False, tests=False)
    constraints = tree.state()['constraints']
    assert 'torch==2.12.1+cu130' in constraints
    assert [line for line in constraints if line.startswith('torch')] == ['torch==2.12.1+cu130']
    assert any(line.startswith('timm==') for line in constraints)


def test_keeps_the_pinned_torch_of_any_build(tree):
    pins = (tree.root / 'requirements' / 'pins.txt').read_text().splitlines()
    (pinned,) = (line.removeprefix('torch==') for line in pins if line.startswith('torch=='))
    tree.set_state(installed={'torch': f'{pinned}+cpu'})
    assert tree.run('runtime').returncode == 0
    assert tree.state()['calls'] == expected_calls(tree, torch=False, tests=False)
    assert tree.state()['constraints'] == pins


@pytest.mark.parametrize('original', ['mmengine', 'mmcv', 'mmcv-lite', 'mmpretrain'])
def test_keeps_the_original_family(tree, original):
    tree.set_state(installed={original: '1.0'})
    result = tree.run('runtime')
    assert result.returncode == 0, result.stderr
    assert tree.state()['calls'] == expected_calls(tree, openmmlab=False, tests=False)


def test_takes_headless_opencv_where_libgl_is_missing(tree):
    tree.set_state(lacks_libgl=True)
    result = tree.run('runtime')
    assert result.returncode == 0, result.stderr
    calls = tree.state()['calls']
    assert ['uninstall', 'opencv-python'] in calls
    assert ['install', 'opencv-python-headless==5.0.0.93', '--no-deps'] in calls


def test_makes_an_environment_where_none_is_active(tree):
    for environment in ({}, {'CONDA_PREFIX': '/somewhere', 'CONDA_DEFAULT_ENV': 'base'}):
        result = tree.run('runtime', PATH=f'{tree.bin}:{os.environ["PATH"]}', **environment)
        assert result.returncode == 0, result.stderr
        assert result.stdout == f'{tree.root / ".venv" / "bin" / "python"}\n'
    assert tree.state()['calls'] == []
    assert tree.state(tree.root / '.venv' / 'bin')['calls'] == expected_calls(tree, tests=False)


def test_uses_an_active_conda_environment(tree):
    result = tree.run('runtime', CONDA_PREFIX=str(tree.bin.parent), CONDA_DEFAULT_ENV='wsol')
    assert result.stdout == f'{tree.bin / "python"}\n'
    assert tree.state()['calls'] == expected_calls(tree, tests=False)


def test_says_that_python_is_too_old(tree):
    tree.set_state(python=[3, 9, 18])
    result = tree.run('runtime')
    assert result.returncode == 1
    message = f"'{tree.bin / 'python'}': expected Python 3.10 or newer, got 3.9.18"
    assert result.stderr == f'setup_env.sh: error: {message}\n'


def test_says_that_venv_is_missing_and_leaves_nothing(tree):
    tree.set_state(venv_error=1)
    result = tree.run('runtime', PATH=f'{tree.bin}:{os.environ["PATH"]}')
    assert result.returncode == 1
    assert 'apt-get install python3-venv' in result.stderr
    assert not (tree.root / '.venv').exists()


@pytest.mark.parametrize(
    ('arguments', 'environment', 'message'),
    [
        (['all'], {}, "expected bash tools/setup_env.sh [runtime|tests], got 'all'"),
        (['runtime', 'tests'], {}, "expected bash tools/setup_env.sh [runtime|tests], got 'runtime tests'"),
        (
            ['runtime'],
            {'VIRTUAL_ENV': '/no/env'},
            "expected an active environment with bin/python, got none in '/no/env'",
        ),
    ],
)
def test_wrong_use_is_one_line(tree, arguments, environment, message):
    result = tree.run(*arguments, **environment)
    assert result.returncode == 1
    assert result.stderr == f'setup_env.sh: error: {message}\n'
    assert result.stdout == ''


def test_a_package_that_does_not_import_is_not_called_done(tree):
    tree.set_state(import_error=1)
    for _ in range(2):
        result = tree.run('runtime')
        assert result.returncode == 1
        assert f'wsol_mm does not import in {tree.bin.parent}' in result.stderr
        assert result.stdout == ''
