"""Fixtures that every test module may use."""

import copy
import gc
import os
from functools import cache, lru_cache
from pathlib import Path

import wsol_mm  # noqa: F401  (first: cures a CUDA torchvision beside a CPU-only torch)

import pytest  # isort: skip
from mmengine.config import Config  # isort: skip
from mmengine.logging import MMLogger  # isort: skip
from yapf.yapflib import yapf_api  # isort: skip

REPO_DIR = Path(__file__).resolve().parents[1]
_format_code = yapf_api.FormatCode


@lru_cache(maxsize=64)
def _formatted(text: str, style: tuple[tuple[str, object], ...]) -> tuple[str, bool]:
    return _format_code(text, style_config=dict(style))


# A run of MMEngine formats its config three times, which is most of what a small one takes.
yapf_api.FormatCode = lambda text, style_config: _formatted(text, tuple(style_config.items()))

_from_file = Config.fromfile


@cache
def _config_of_the_repository(path: str | Path) -> Config:
    return _from_file(path)


def _read_once(filename: str | Path, *args: object, **kwargs: object) -> Config:
    if args or kwargs or REPO_DIR / 'configs' not in Path(filename).parents:
        return _from_file(filename, *args, **kwargs)
    return copy.deepcopy(_config_of_the_repository(filename))


# Many tests look at all configs, and to read one takes 30 ms.
Config.fromfile = staticmethod(_read_once)


@pytest.fixture(autouse=True)
def no_logger_of_another_test() -> None:
    """Forget MMEngine's loggers: one with a file would add its place to the errors of the tests behind it."""
    MMLogger._instance_dict.clear()


@pytest.fixture(autouse=True, scope='module')
def no_search_among_imports() -> None:
    """Keep what is imported out of the garbage collector's sight.

    Every data set of MMEngine collects garbage when it is made, which takes a third of a second among the
    objects of all that the tests import. They are not given back between the modules: the collection before
    would have to look at all of them.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session')
def repo_dir() -> Path:
    """Root of the source tree."""
    return REPO_DIR


@pytest.fixture(scope='session')
def shared_dir() -> Path:
    """Folder with the reference fixtures and the photographs, beside the source tree.

    Set ``WSOL_MM_SHARED`` to use another place. Tests that need it are skipped where it is absent.
    """
    path = Path(os.environ.get('WSOL_MM_SHARED', REPO_DIR.parent / 'shared'))
    if not path.is_dir():
        pytest.skip(f'no folder of reference data at {path} (set WSOL_MM_SHARED)')
    return path
