"""The torchvision guard: declares the missing operators in the one case in which they are missing."""

import subprocess
import sys
from importlib.machinery import ModuleSpec

from wsol_mm.utils import torchvision_guard
from wsol_mm.utils.torchvision_guard import compiled_operators_load, declare_torchvision_operators

import pytest
import torch


def run_python(script: str, **options) -> subprocess.CompletedProcess:
    """Run a script in a fresh interpreter, where torchvision has not been imported yet."""
    return subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, **options)


@pytest.fixture
def torchvision_folder(tmp_path, monkeypatch):
    """An installed torchvision that is an empty folder."""
    spec = ModuleSpec('torchvision', loader=None, origin=str(tmp_path / '__init__.py'))
    monkeypatch.setattr(torchvision_guard.importlib.util, 'find_spec', lambda name: spec)
    return tmp_path


def test_torchvision_imports_after_wsol_mm(repo_dir):
    script = (
        'import wsol_mm, torch, torchvision\n'
        'from torchvision.ops import deform_conv2d, nms\n'
        'from torchvision.transforms.functional import normalize\n'
        'print(normalize(torch.ones(3, 1, 1), [0.5] * 3, [0.5] * 3).sum().item())\n'
    )
    result = run_python(script, cwd=repo_dir)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == '3.0'


def test_mmpretrain_imports_after_wsol_mm_which_declares_only_what_does_not_load(repo_dir):
    script = (
        'import wsol_mm.registry, mmpretrain.models, mmcv.transforms\n'
        'from wsol_mm.utils import torchvision_guard as guard\n'
        'print(guard.compiled_operators_load(), len(guard._libraries))\n'
        'print(guard.declare_torchvision_operators())\n'
    )
    result = run_python(script, cwd=repo_dir)
    assert result.returncode == 0, result.stderr
    loads, declared, again = result.stdout.split()
    assert (loads, declared) in {('True', '0'), ('False', '1')}
    assert again == 'False'


def test_absent_torchvision_needs_no_cure(monkeypatch):
    monkeypatch.setattr(torchvision_guard.importlib.util, 'find_spec', lambda name: None)
    assert compiled_operators_load()


def test_library_that_is_absent_or_broken_does_not_load(torchvision_folder):
    assert not compiled_operators_load()
    (torchvision_folder / '_C.so').write_bytes(b'not a library')
    assert not compiled_operators_load()


def test_library_that_loads_needs_no_cure(torchvision_folder, monkeypatch):
    (torchvision_folder / '_C.so').touch()
    loaded = []
    monkeypatch.setattr(torch.ops, 'load_library', loaded.append)
    assert compiled_operators_load()
    assert loaded == [str(torchvision_folder / '_C.so')]


def test_declares_once_and_never_after_torchvision(monkeypatch):
    monkeypatch.setattr(torchvision_guard, 'compiled_operators_load', lambda: False)
    monkeypatch.setattr(torchvision_guard, '_libraries', [])
    monkeypatch.setitem(sys.modules, 'torchvision', None)
    assert not declare_torchvision_operators()
    monkeypatch.delitem(sys.modules, 'torchvision')
    monkeypatch.setattr(torchvision_guard, '_SCHEMAS', {'guard_test': '(Tensor boxes) -> Tensor'})
    assert declare_torchvision_operators()
    assert hasattr(torch.ops.torchvision, 'guard_test')
    assert not declare_torchvision_operators()
