"""Read checkpoints without executing what is in them.

A ``.pth`` file is a pickle, which may name any function to be called. Everything here reads with
PyTorch's restricted unpickler (``weights_only=True``) and allow-lists by name the few things beyond
tensors that MMEngine's own checkpoints hold: numpy scalars and arrays, and ``HistoryBuffer``; and the
``argparse.Namespace`` with a command line's arguments, which many authors save beside their weights.
"""

import argparse
import os
import pickle
import re
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.logging import HistoryBuffer

from .per_node import one_per_node_first
from .whole_files import write_whole

MapLocation: TypeAlias = str | torch.device | dict | Callable | None

# How a file begins that torch.save wrote: a zip archive, or (older) a pickle of this number.
_ZIP_MAGIC, _PICKLE_MAGIC = b'PK', b'\x8a\x0a' + torch.serialization.MAGIC_NUMBER.to_bytes(10, 'little')
# Before the names of a wrapped model's weights.
_WRAPPER_PREFIX = re.compile(r'^(?:(?:module|_orig_mod)\.)+')
# What reading a damaged file raises: errors that say so, and those of a pickle in which any byte may differ.
_DAMAGE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, SystemError),
    *(UnicodeDecodeError, LookupError, TypeError, ValueError, AttributeError, ImportError, MemoryError),
    *(AssertionError, struct.error),
)
_SCALAR_TYPES = (
    *(np.bool_, np.str_, np.float16, np.float32, np.float64),
    *(np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
)


class CheckpointError(ValueError):
    """A file that is no checkpoint, or one that would run code of its own."""


def _statistics_method(owner: object, name: str) -> Callable:
    """Stand for ``getattr`` in a pickle: HistoryBuffer refers to its own methods with it."""
    methods = HistoryBuffer._statistics_methods
    if owner is not HistoryBuffer or name not in methods:
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL getattr({owner!r}, {name!r})')
    return getattr(HistoryBuffer, name)


def _under_name(function: Callable, full_name: str) -> Callable:
    """Return ``function`` under the module and name by which pickles call it."""

    def stand_in(*args: Any) -> Any:
        return function(*args)

    stand_in.__module__, _, stand_in.__name__ = full_name.rpartition('.')
    stand_in.__qualname__ = stand_in.__name__
    return stand_in


def _allowed_globals() -> list:
    """Return what checkpoints hold beyond tensors and plain containers."""
    HistoryBuffer()  # registers its statistics methods
    core = getattr(np, '_core', None) or np.core
    functions = {'_reconstruct': core.multiarray._reconstruct, 'scalar': core.multiarray.scalar}
    return [
        HistoryBuffer,
        _under_name(_statistics_method, 'builtins.getattr'),
        # numpy 2 moved these; a file keeps the name of the version that wrote it.
        *(
            _under_name(function, f'{module}.{name}')
            for name, function in functions.items()
            for module in ('numpy.core.multiarray', 'numpy._core.multiarray')
        ),
        argparse.Namespace,
        np.ndarray,
        np.dtype,
        *{type(np.dtype(scalar)) for scalar in _SCALAR_TYPES},
    ]


def read_checkpoint(path: str | Path, map_location: MapLocation = 'cpu', lazily: bool = False) -> dict:
    """Read a local checkpoint, ``.safetensors`` or what ``torch.save`` wrote.

    Args:
        path: The file; ``~`` is expanded. A name that ends in ``.safetensors`` is read as such.
        map_location: As for ``torch.load``; a callable or a dict does not apply to ``.safetensors``.
        lazily: Weights are read when they are used, on the CPU, and not compared with the sums in the file.

    Returns:
        What was saved: a checkpoint (``state_dict``, ``meta``, ...) or a state dict alone.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is no checkpoint, is damaged, refers to code that is not on the
            allow-list, or holds anything but a dict.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{path}: expected a checkpoint, got nothing there')
    if path.suffix == '.safetensors':
        content: object = _read_safetensors(path, map_location)
    else:
        content = _read_pickled(path, map_location, lazily)
    if not isinstance(content, dict):
        raise CheckpointError(f'{path}: expected a dict of weights, got a {type(content).__name__}')
    return content


def write_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint as ``torch.save`` does, whole or not at all.

    Args:
        path: The file.
        content: The checkpoint.

    Raises:
        OSError: If it cannot be written; the former file is as it was.
    """
    with BytesIO() as buffer:
        torch.save(content, buffer)
        write_whole(path, buffer.getbuffer())


def _check_sums(path: Path) -> None:
    """Compare what an archive of ``torch.save`` holds with the sums (CRC-32) in it; PyTorch does not.

    Raises:
        zipfile.BadZipFile: If they differ.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f'the content of {damaged} does not have the sum that was written with it')


def _read_safetensors(path: Path, map_location: MapLocation) -> dict:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    device = str(map_location) if isinstance(map_location, str | torch.device) else 'cpu'
    try:
        return load_file(path, device=device)
    except SafetensorError as error:
        raise CheckpointError(
            f'{path}: expected a .safetensors file, got another or a damaged one: {error}'
        ) from error


def _read_pickled(path: Path, map_location: MapLocation, lazily: bool) -> object:
    with path.open('rb') as file:
        start = file.read(32)
    if not start.startswith(_ZIP_MAGIC) and _PICKLE_MAGIC not in start:
        raise CheckpointError(
            f'{path}: expected a checkpoint, .safetensors or what torch.save writes, got a file that begins '
            f'with {start[:8]!r}'
        )
    zipped = start.startswith(_ZIP_MAGIC)
    options = dict(mmap=True, map_location='cpu') if lazily and zipped else dict(map_location=map_location)
    try:
        if zipped and not lazily:
            _check_sums(path)
        with torch.serialization.safe_globals(_allowed_globals()):
            return torch.load(path, weights_only=True, **options)
    except _DAMAGE as error:
        foreign = re.search(r'GLOBAL (getattr\(.*?\)|[\w.]+)', str(error))
        if foreign is None:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(
                f'{path}: expected a checkpoint, got another file or a damaged one: {reason}'
            ) from error
        raise CheckpointError(
            f'{path}: expected weights and what is on the allow-list of wsol_mm.utils.checkpoint_io, got a '
            f'reference to {foreign[1]}: loading it could run code from the file. If you trust its origin, '
            'save its state dict alone (torch.save(model.state_dict(), ...)) where it was made'
        ) from error


def without_prefixes(weights: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take off what wrappers put before the names of a model's weights, name by name as MMEngine does.

    Args:
        weights: Names to weights.

    Returns:
        The same weights without ``module.`` of DataParallel and ``_orig_mod.`` of ``torch.compile``, in any
        order.

    Raises:
        CheckpointError: If two names are the same without their prefixes.
    """
    bare = OrderedDict((_WRAPPER_PREFIX.sub('', str(name)), value) for name, value in weights.items())
    if len(bare) < len(weights):
        raise CheckpointError(
            f'state_dict: expected names that differ without the prefixes of wrappers, got {len(weights)} '
            f'names of which {len(bare)} do'
        )
    if hasattr(weights, '_metadata'):  # versions of layers, by their names
        bare._metadata = OrderedDict(  # type: ignore[attr-defined]
            (_WRAPPER_PREFIX.sub('', f'{name}.').rstrip('.'), value)
            for name, value in weights._metadata.items()
        )
    return bare


def read_remote_checkpoint(url: str, map_location: MapLocation = 'cpu', folder: str | None = None) -> dict:
    """Download a checkpoint once, into PyTorch's cache, and read it as :func:`read_checkpoint` does.

    Only the first process of every machine downloads; the others wait for it.

    Args:
        url: ``http://`` or ``https://`` address.
        map_location: As for ``torch.load``.
        folder: Where to keep the file; PyTorch's hub cache if None.

    Returns:
        See :func:`read_checkpoint`.
    """
    folder = folder or os.path.join(torch.hub.get_dir(), 'checkpoints')
    target = Path(folder) / os.path.basename(urlparse(url).path)
    with one_per_node_first():
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(target), progress=get_dist_info()[0] == 0)
    return read_checkpoint(target, map_location)
