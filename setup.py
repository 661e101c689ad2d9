"""Install wsol_mm, with its configs, tools and model index inside the package for OpenMIM.

What never changes (name, description, packages) is in pyproject.toml; here is what is read from other files,
and the build step that fills ``wsol_mm/.mim``.
"""

import os
import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# What OpenMIM and mmengine.hub look for in <package>/.mim.
MIM_FILES = ('configs', 'tools', 'model-index.yml', 'dataset-index.yml')
# The door to tests/parity leads nowhere without the source tree.
NOT_COPIED = ('__pycache__', '*.pyc', 'check_parity.py')


def read_requirements(name: str) -> list[str]:
    """Read the requirement specifiers of a file.

    Args:
        name: File name within ``requirements/``, without ``.txt``.

    Returns:
        One specifier per line, comments removed.
    """
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    specifiers = (line.partition('#')[0].strip() for line in lines)
    return [specifier for specifier in specifiers if specifier]


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` a relative link to ``source``, or a copy where links are not permitted.

    Args:
        source: File or folder of the source tree.
        target: Path to create; what stands there is replaced.
    """
    remove(target)
    try:
        target.symlink_to(os.path.relpath(source, target.parent), target_is_directory=source.is_dir())
    except OSError as error:
        print(f'{target}: no symbolic link ({error}); copied, so later edits of {source} do not show there')
        copy(source, target)


def copy(source: Path, target: Path) -> None:
    """Copy a file, or a folder without byte code.

    Args:
        source: File or folder of the source tree.
        target: Path to create; what stands there is replaced.
    """
    remove(target)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NOT_COPIED))
    else:
        shutil.copy2(source, target)


def remove(path: Path) -> None:
    """Remove a link, file or folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class BuildPackage(build_py):
    """Add ``.mim`` to the package: linked to the source tree when editable, copied into a wheel."""

    def run(self) -> None:
        """Build the package, then place ``.mim`` in it."""
        super().run()
        package = ROOT if self.editable_mode else Path(self.build_lib)
        folder = package / 'wsol_mm' / '.mim'
        folder.mkdir(parents=True, exist_ok=True)
        place = link_or_copy if self.editable_mode else copy
        for name in MIM_FILES:
            place(ROOT / name, folder / name)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return the files that a build makes, those of ``.mim`` included."""
        outputs = super().get_outputs(include_bytecode)
        folder = Path(self.build_lib) / 'wsol_mm' / '.mim'
        return outputs + [str(path) for path in folder.rglob('*') if path.is_file()]


tests, optional, mim = (read_requirements(name) for name in ('tests', 'optional', 'mminstall'))
setup(
    version=runpy.run_path(str(ROOT / 'wsol_mm' / 'version.py'))['__version__'],
    install_requires=read_requirements('runtime'),
    extras_require={
        'mim': mim,
        'tests': tests,
        'optional': optional,
        'all': sorted({*mim, *tests, *optional}),
    },
    # The source tree goes on sys.path. Otherwise a folder of the name of the package in the working directory
    # (a reader beside the clone) would be taken for it.
    options={'editable_wheel': {'mode': 'compat'}},
    cmdclass={'build_py': BuildPackage},
)
