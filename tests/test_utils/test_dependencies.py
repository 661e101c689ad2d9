"""The version guard: accepts what is supported, and names whatever is not."""

import subprocess
import sys
import time
from importlib import metadata

from wsol_mm.utils import dependencies
from wsol_mm.utils.dependencies import DEPENDENCIES, DependencyError, check_dependencies

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

MAINTAINED = {
    'torch': '2.13.0+cpu',
    'torchvision': '0.28.0',
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmpretrain': '1.3.6',
    'timm': '1.0.31',
    'open_clip_torch': '3.3.0',
    'numpy': '2.4.6',
    'opencv-python': '5.0.0.93',
    'matplotlib': '3.11.2',
    'pillow': '13.0.0',
    'numba': '0.68.1',
    'safetensors': '0.8.0',
    'mat4py': '0.6.0',
    'pyyaml': '6.0.3',
}
ORIGINAL = {name: version for name, version in MAINTAINED.items() if not name.startswith('onedl')} | {
    'mmengine': '0.10.7',
    'mmcv-lite': '2.2.0',
    'mmpretrain': '1.2.0',
}


def change(versions: dict[str, str], **changes: str | None) -> dict[str, str]:
    """Return the versions with some changed, or removed where the new one is None."""
    changed = versions | {name.replace('_', '-'): version for name, version in changes.items()}
    return {name: version for name, version in changed.items() if version is not None}


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes exactly the given distributions look installed."""

    def install_versions(versions: dict[str, str]) -> None:
        def version(name: str) -> str:
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(dependencies.metadata, 'version', version)

    return install_versions


@pytest.mark.parametrize(
    'versions',
    [
        MAINTAINED,
        ORIGINAL,
        change(ORIGINAL, mmcv_lite=None, mmcv='2.1.0'),
        change(MAINTAINED, opencv_python=None, opencv_python_headless='4.10.0.84'),
        change(MAINTAINED, opencv_python_headless='5.0.0.93'),
        change(MAINTAINED, torch='2.14.0.dev20260801+cu130'),
    ],
    ids=['maintained', 'original', 'full mmcv', 'headless', 'both opencv', 'nightly torch'],
)
def test_accepts_supported_versions(install, versions):
    install(versions)
    check_dependencies()


@pytest.mark.parametrize('dependency', DEPENDENCIES, ids=lambda dependency: dependency.module)
def test_names_a_missing_package(install, dependency):
    names = set(dependency.ranges)
    install({name: version for name, version in MAINTAINED.items() if name not in names})
    with pytest.raises(DependencyError) as caught:
        check_dependencies()
    name, accepted = next(iter(dependency.ranges.items()))
    message = str(caught.value)
    assert all(other in message for other in names)
    assert f': expected {accepted}, got none. pip install "{name}{accepted}"' in message
    assert message.count('\n') == 1


@pytest.mark.parametrize(
    ('versions', 'package', 'found', 'accepted'),
    [
        (MAINTAINED, 'torch', '2.4.1', '>=2.5,<3'),
        (MAINTAINED, 'torch', '3.0.0', '>=2.5,<3'),
        (MAINTAINED, 'torchvision', '0.19.0', '>=0.20,<1'),
        (MAINTAINED, 'onedl-mmcv', '2.4.0', '>=2.3.0,<2.4'),
        (MAINTAINED, 'onedl-mmengine', '0.11.0', '>=0.10.8,<0.11'),
        (ORIGINAL, 'mmengine', '0.7.0', '>=0.10.7,<0.11'),
        (ORIGINAL, 'mmcv-lite', '2.0.0', '>=2.1.0,<2.4'),
        (ORIGINAL, 'mmpretrain', '1.0.0', '>=1.2.0,<1.3'),
        (MAINTAINED, 'timm', '0.4.12', '>=1.0.20'),
        (MAINTAINED, 'numpy', '1.23.5', '>=1.24,<3'),
        (MAINTAINED, 'opencv-python', 'unreadable', '>=4.6'),
    ],
)
def test_names_package_version_and_range(install, versions, package, found, accepted):
    install(versions | {package: found})
    with pytest.raises(DependencyError) as caught:
        check_dependencies()
    assert f'{package}: expected {accepted}, got {found}. pip install "{package}{accepted}"' in str(
        caught.value
    )


def test_names_all_problems_at_once(install):
    install(change(MAINTAINED, timm='0.9.0', numba=None))
    with pytest.raises(
        DependencyError, match=r'(?s)timm: expected .*, got 0\.9\.0.*\n.*numba: expected .*, got none'
    ):
        check_dependencies()


@pytest.mark.parametrize('original', ['mmengine', 'mmcv', 'mmcv-lite', 'mmpretrain'])
def test_rejects_both_families(install, original):
    versions = {'mmengine': '0.10.7', 'mmcv': '2.2.0', 'mmcv-lite': '2.2.0', 'mmpretrain': '1.2.0'}
    install(MAINTAINED | {original: versions[original]})
    with pytest.raises(
        DependencyError,
        match=f'one family, got {original} and onedl-mmengine, onedl-mmcv, onedl-mmpretrain',
    ):
        check_dependencies()


def test_rejects_both_builds_of_mmcv(install):
    install(ORIGINAL | {'mmcv': '2.2.0'})
    with pytest.raises(DependencyError, match='expected one of mmcv and mmcv-lite, got both'):
        check_dependencies()


def test_error_is_an_import_error():
    assert issubclass(DependencyError, ImportError)


def test_is_cheap_and_imports_no_dependency():
    """The check itself takes under 50 ms of CPU time, the best of five runs: the machine may be busy."""
    check_dependencies()
    durations = []
    for _ in range(5):
        start = time.process_time()
        check_dependencies()
        durations.append(time.process_time() - start)
    assert min(durations) < 0.05
    script = (
        'import runpy, sys\n'
        f'runpy.run_path({dependencies.__file__!r})["check_dependencies"]()\n'
        'print(*sys.modules)'
    )
    modules = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, check=True
    ).stdout
    assert not {dependency.module for dependency in DEPENDENCIES} & set(modules.split())


def read_ranges(path) -> dict[str, SpecifierSet]:
    """Read the specifiers of a requirement file."""
    lines = (line.partition('#')[0].strip() for line in path.read_text().splitlines())
    requirements = [Requirement(line) for line in lines if line]
    return {requirement.name.lower(): requirement.specifier for requirement in requirements}


def test_agrees_with_the_requirement_files(repo_dir):
    folder = repo_dir / 'requirements'
    required = read_ranges(folder / 'runtime.txt') | read_ranges(folder / 'mminstall.txt')
    required.pop('packaging')  # what the guard itself compares versions with
    guarded = {}
    for dependency in DEPENDENCIES:
        name, accepted = next(iter(dependency.ranges.items()))
        guarded[name] = SpecifierSet(accepted)
    assert guarded == required


def test_pins_are_within_the_ranges(repo_dir):
    pins = read_ranges(repo_dir / 'requirements' / 'pins.txt')
    for dependency in DEPENDENCIES:
        name, accepted = next(iter(dependency.ranges.items()))
        (pin,) = pins[name]
        assert pin.operator == '=='
        assert pin.version in SpecifierSet(accepted)
