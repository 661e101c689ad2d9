"""The wheel, the source distribution and the editable installation hold configs, tools and model index.

The wheel carries neither benchmarks nor tests.
"""

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

# Import names that differ from the name of their distribution.
DISTRIBUTIONS = {
    'cv2': 'opencv-python',
    'PIL': 'pillow',
    'pytorch_grad_cam': 'grad-cam',
    'yaml': 'pyyaml',
    'mmengine': 'onedl-mmengine',
    'mmcv': 'onedl-mmcv',
    'mmpretrain': 'onedl-mmpretrain',
    'open_clip': 'open_clip_torch',
    'starlette': 'fastapi',
    'python_multipart': 'python-multipart',
}
SOURCES = (
    'LICENSE',
    'MANIFEST.in',
    'README.md',
    'benchmarks',
    'configs',
    'dataset-index.yml',
    'model-index.yml',
    'pyproject.toml',
    'requirements',
    'setup.py',
    'tests',
    'tools',
    'wsol_mm',
)


@pytest.fixture(scope='module')
def source_tree(repo_dir, tmp_path_factory) -> Path:
    """A copy of the source tree, without what it does not track and the data of the tests."""
    tree = tmp_path_factory.mktemp('source tree')
    ignore = shutil.ignore_patterns('__pycache__', '.mim', 'data')
    for name in SOURCES:
        source = repo_dir / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=ignore)
        else:
            shutil.copy2(source, tree / name)
    return tree


def build(kind: str, tree: Path, out: Path) -> Path:
    """Build a distribution as pip does: with the build backend, in the source tree.

    Args:
        kind: 'wheel', 'sdist' or 'editable'.
        tree: Source tree.
        out: Folder for the result.

    Returns:
        The distribution.
    """
    script = f'from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))'
    command = [sys.executable, '-W', 'ignore', '-c', script]
    result = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return out / result.stdout.splitlines()[-1]


@pytest.fixture(scope='module')
def wheel(source_tree, tmp_path_factory) -> Path:
    """The wheel of the source tree."""
    return build('wheel', source_tree, tmp_path_factory.mktemp('wheel'))


def files_below(folder: Path) -> set[str]:
    """Return the files of a folder, as paths relative to its parent."""
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob('*')
        if path.is_file() and path.suffix != '.pyc'
    }


def test_wheel_holds_code_configs_tools_and_index(source_tree, wheel):
    assert wheel.name.startswith('wsol_mm-')
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(name for name in names if name.endswith('/METADATA'))).decode()
    for name in ('configs', 'tools'):
        expected = {f'wsol_mm/.mim/{path}' for path in files_below(source_tree / name)}
        # It leads to tests/parity, which a wheel does not have.
        assert expected - names == {path for path in expected if path.endswith('/check_parity.py')}
    assert {'wsol_mm/.mim/model-index.yml', 'wsol_mm/.mim/dataset-index.yml'} <= names
    assert files_below(source_tree / 'wsol_mm') <= names
    assert not [name for name in names if name.startswith(('tools/', 'configs/'))]
    assert not [name for name in names if {'benchmarks', 'tests'}.intersection(name.split('/'))]
    assert 'Requires-Python: >=3.10' in metadata
    assert 'Requires-Dist: torch' in metadata
    requirements = re.findall('^Requires-Dist: (.*)$', metadata, re.MULTILINE)
    openmmlab = [line for line in requirements if 'mmengine' in line]
    assert openmmlab and all('extra == ' in line for line in openmmlab)
    assert {'mim', 'tests', 'optional', 'all'} == set(re.findall('^Provides-Extra: (.*)$', metadata, re.M))
    assert not (source_tree / 'wsol_mm' / '.mim').exists()


def test_source_distribution_builds_the_same_wheel(source_tree, wheel, tmp_path):
    archive = build('sdist', source_tree, tmp_path)
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter='data')
    tree = tmp_path / archive.name.removesuffix('.tar.gz')
    with zipfile.ZipFile(wheel) as direct, zipfile.ZipFile(build('wheel', tree, tmp_path)) as packed:
        assert set(direct.namelist()) == set(packed.namelist())


def test_editable_installation_links_to_the_source_tree(source_tree, tmp_path):
    tree = tmp_path / 'tree'
    shutil.copytree(source_tree, tree)
    build('editable', tree, tmp_path)
    build('editable', tree, tmp_path)  # a second time, over the links of the first
    for name in ('configs', 'tools', 'model-index.yml', 'dataset-index.yml'):
        link = tree / 'wsol_mm' / '.mim' / name
        assert link.is_symlink()
        assert link.resolve() == (tree / name).resolve()
        assert not link.readlink().is_absolute()


def test_editable_installation_is_found_beside_a_folder_of_its_name(source_tree, tmp_path):
    """As is a clone for who works in the folder that holds it."""
    tree = tmp_path / 'wsol_mm'
    shutil.copytree(source_tree, tree)
    site = tmp_path / 'site'
    with zipfile.ZipFile(build('editable', tree, tmp_path)) as wheel:
        wheel.extractall(site)
    script = (
        f'import importlib.util, site; site.addsitedir({str(site)!r}); '
        "print(importlib.util.find_spec('wsol_mm').origin)"
    )
    result = subprocess.run(
        [sys.executable, '-S', '-c', script], cwd=tmp_path, env={}, capture_output=True, text=True
    )
    assert result.stdout.strip() == str(tree / 'wsol_mm' / '__init__.py'), result.stderr


#: Parts of the package that nothing imports until they are used, and that say so if a package is missing.
OPTIONAL_PARTS = ('wsol_mm/web/', 'wsol_mm/annotation_formats/supervision_detections.py')


def imported_packages(path: Path) -> set[str]:
    """Return the top-level packages that a source file imports."""
    packages = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition('.')[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            packages.add(node.module.partition('.')[0])
    return packages


def declared(repo_dir: Path, *names: str) -> set[str]:
    """Return the distributions that requirement files name."""
    text = '\n'.join((repo_dir / 'requirements' / f'{name}.txt').read_text() for name in names)
    return set(re.findall(r'^[A-Za-z][\w.-]*', text, re.MULTILINE))


@pytest.mark.parametrize(
    ('folders', 'requirements'),
    [
        (('wsol_mm',), ('runtime', 'mminstall')),
        (('tools', 'benchmarks'), ('runtime', 'mminstall', 'optional')),
        (('tests',), ('runtime', 'mminstall', 'tests')),
    ],
    ids=['package', 'tools and benchmarks', 'tests'],
)
def test_every_import_is_a_declared_requirement(repo_dir, folders, requirements):
    known, optional = declared(repo_dir, *requirements), declared(repo_dir, *requirements, 'optional')
    # Modules of the source tree that its scripts and tests import by their own name.
    scripts = [*(repo_dir / 'tools').rglob('*'), *(repo_dir / 'tests').rglob('*')]
    local = {path.stem for path in scripts} | {'wsol_mm', 'tests', 'benchmarks', 'demo'}
    undeclared = [
        f'{path.relative_to(repo_dir)} imports {package}'
        for folder in folders
        for path in (repo_dir / folder).rglob('*.py')
        for package in sorted(imported_packages(path) - sys.stdlib_module_names - local)
        if DISTRIBUTIONS.get(package, package)
        not in (optional if path.relative_to(repo_dir).as_posix().startswith(OPTIONAL_PARTS) else known)
    ]
    assert not undeclared


def test_pre_commit_uses_the_pinned_ruff(repo_dir):
    pinned = re.search('^ruff==.*$', (repo_dir / 'requirements' / 'pins.txt').read_text(), re.MULTILINE)
    config = yaml.safe_load((repo_dir / '.pre-commit-config.yaml').read_text())
    for hook in config['repos'][0]['hooks']:
        assert hook['additional_dependencies'] == [pinned.group()]
