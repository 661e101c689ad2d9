"""Tests of wsol_mm.utils.import_hooks, and of what the package does with them."""

import subprocess
import sys

from tests.conftest import REPO_DIR
from tests.fresh_processes import run_in_forks
from wsol_mm.utils.import_hooks import after_import, before_import

import pytest

PACKAGE = REPO_DIR / 'wsol_mm'
SUBPACKAGES = sorted(path.parent.name for path in PACKAGE.glob('*/__init__.py'))
MODULES = sorted(
    '.'.join(path.relative_to(REPO_DIR).with_suffix('').parts)
    for path in PACKAGE.rglob('*.py')
    if path.name != '__init__.py'
)


def run_python(script: str) -> str:
    """Run a script in a fresh interpreter; give what it prints."""
    result = subprocess.run([sys.executable, '-c', script], cwd=REPO_DIR, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def module(tmp_path, monkeypatch) -> str:
    """Name of a module that can be imported, and has not been."""
    (tmp_path / 'awaited_module.py').write_text('loaded = []\nloaded.append("module")\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'awaited_module', raising=False)
    yield 'awaited_module'
    sys.modules.pop('awaited_module', None)


def test_before_and_after_a_first_import(module):
    finders, order = list(sys.meta_path), []
    before_import(module, lambda: order.append(('before', module in sys.modules)))
    after_import(module, lambda: order.append(('after', sys.modules[module].loaded == ['module'])))
    assert order == []
    __import__(module)
    assert order == [('before', False), ('after', True)]
    assert sys.meta_path == finders
    __import__(module)
    assert len(order) == 2


def test_after_an_import_of_the_past_and_never_before_it(module):
    __import__(module)
    order = []
    before_import(module, lambda: order.append('before'))
    after_import(module, lambda: order.append('after'))
    assert order == ['after']


def test_a_module_that_is_not_there_is_still_missing():
    after_import('no_such_module_anywhere', lambda: pytest.fail('it was not imported'))
    with pytest.raises(ModuleNotFoundError, match='no_such_module_anywhere'):
        __import__('no_such_module_anywhere')


def test_the_package_imports_no_torch():
    assert run_python('import wsol_mm, sys; print("torch" in sys.modules)') == 'False\n'


@pytest.mark.parametrize('first', ['', 'import mmengine.runner\n'])
def test_checkpoints_are_read_by_this_package_whichever_is_imported_first(first):
    script = (
        f'{first}import wsol_mm\n'
        'from mmengine.runner import load_checkpoint\n'
        'from mmengine.runner.checkpoint import CheckpointLoader\n'
        'print([CheckpointLoader._schemes[name].__module__ for name in ("", "http://")])\n'
    )
    assert run_python(script) == f'{["wsol_mm.utils.checkpoint_loaders"] * 2}\n'


def failed_imports(names: list[str]) -> dict[str, str]:
    """Import modules, then torchvision, each in a process without torchvision, mmengine and wsol_mm."""
    return run_in_forks('import cv2, numba, scipy, torch', [f'import {n}, torchvision.ops' for n in names])


def test_subpackages_can_be_imported_alone_and_torchvision_after_them():
    failed = failed_imports([f'wsol_mm.{name}' for name in SUBPACKAGES])
    assert not failed, failed


@pytest.mark.slow
def test_modules_can_be_imported_alone():
    failed = failed_imports(MODULES)
    assert not failed, failed


def test_a_module_that_cannot_be_imported_is_found():
    assert list(failed_imports(['wsol_mm', 'wsol_mm.nothing'])) == ['import wsol_mm.nothing, torchvision.ops']
