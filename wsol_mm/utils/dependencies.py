"""Check the installed packages against the supported versions, from their metadata alone."""

from importlib import metadata
from typing import NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version


class Dependency(NamedTuple):
    """A package that wsol_mm imports.

    Attributes:
        module: Name by which it is imported.
        ranges: Accepted versions of each distribution that provides the module. The first is the one to
            install.
    """

    module: str
    ranges: dict[str, str]


_OPENCV_RANGE = '>=4.6'

DEPENDENCIES = (
    Dependency('torch', {'torch': '>=2.5,<3'}),
    Dependency('torchvision', {'torchvision': '>=0.20,<1'}),
    Dependency('mmengine', {'onedl-mmengine': '>=0.10.8,<0.11', 'mmengine': '>=0.10.7,<0.11'}),
    Dependency('mmcv', {'onedl-mmcv': '>=2.3.0,<2.4', 'mmcv': '>=2.1.0,<2.4', 'mmcv-lite': '>=2.1.0,<2.4'}),
    Dependency('mmpretrain', {'onedl-mmpretrain': '>=1.3.0,<1.4', 'mmpretrain': '>=1.2.0,<1.3'}),
    Dependency('timm', {'timm': '>=1.0.20'}),
    Dependency('open_clip', {'open_clip_torch': '>=2.29'}),
    Dependency('numpy', {'numpy': '>=1.24,<3'}),
    Dependency(
        'cv2',
        dict.fromkeys(
            (
                'opencv-python',
                'opencv-python-headless',
                'opencv-contrib-python',
                'opencv-contrib-python-headless',
            ),
            _OPENCV_RANGE,
        ),
    ),
    Dependency('matplotlib', {'matplotlib': '>=3.7'}),
    Dependency('PIL', {'pillow': '>=9.1'}),
    Dependency('numba', {'numba': '>=0.59'}),
    Dependency('safetensors', {'safetensors': '>=0.4'}),
    Dependency('mat4py', {'mat4py': '>=0.5'}),
    Dependency('yaml', {'pyyaml': '>=6'}),
)
# Distributions of the two families share their import names: the files of one overwrite the other's.
_MAINTAINED_FAMILY = ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmpretrain')
_ORIGINAL_FAMILY = ('mmengine', 'mmcv', 'mmcv-lite', 'mmpretrain')


class DependencyError(ImportError):
    """Installed packages that wsol_mm cannot work with; the message has one line for each."""


def check_dependencies() -> None:
    """Check that every package that wsol_mm imports is installed in a supported version.

    Reads the metadata of the installed distributions and imports none of them.

    Raises:
        DependencyError: If a package is missing or out of range, or if distributions that overwrite each
            other are installed together. Names every such package, the version found, the range accepted
            and the command that mends it.
    """
    problems = [*_conflicts(), *filter(None, map(_problem_of, DEPENDENCIES))]
    if problems:
        lines = '\n'.join(f'  - {problem}' for problem in problems)
        raise DependencyError(
            f'installed packages: expected those that wsol_mm works with, got others:\n{lines}'
        )


def _installed_version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _installed(distributions: tuple[str, ...]) -> list[str]:
    return [name for name in distributions if _installed_version(name) is not None]


def _conflicts() -> list[str]:
    maintained, original = _installed(_MAINTAINED_FAMILY), _installed(_ORIGINAL_FAMILY)
    problems = []
    if maintained and original:
        problems.append(
            f'OpenMMLab packages: expected one family, got {", ".join(original)} and '
            f'{", ".join(maintained)}, which overwrite each other. '
            f'pip uninstall {" ".join(original + maintained)}, then pip install -r requirements/mminstall.txt'
        )
    if {'mmcv', 'mmcv-lite'} <= set(original):
        problems.append(
            'OpenMMLab packages: expected one of mmcv and mmcv-lite, got both, which overwrite each other. '
            'pip uninstall mmcv mmcv-lite, then install mmcv-lite (or mmcv) again'
        )
    return problems


def _problem_of(dependency: Dependency) -> str | None:
    """Return what is wrong with a dependency, or None if an accepted version of it is installed."""
    wanted, wanted_range = next(iter(dependency.ranges.items()))
    found = {name: version for name in dependency.ranges if (version := _installed_version(name))}
    if not found:
        others = ' or '.join(name for name in dependency.ranges if name != wanted)
        return (
            f'{wanted}{f" (or {others})" if others else ""}: expected {wanted_range}, got none. '
            f'pip install "{wanted}{wanted_range}"'
        )
    for name, version in found.items():
        if not _accepts(dependency.ranges[name], version):
            accepted = dependency.ranges[name]
            return f'{name}: expected {accepted}, got {version}. pip install "{name}{accepted}"'
    return None


def _accepts(version_range: str, version: str) -> bool:
    try:
        return SpecifierSet(version_range).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False
