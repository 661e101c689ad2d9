"""Read pickles of numbers, texts, arrays and tensors, and nothing that would run code.

A pickle names the functions that are called when it is read. Here these are an allow-list: what rebuilds
arrays of NumPy and tensors of PyTorch. Storages of tensors, which hold a pickle of their own, are read with
``weights_only=True``.
"""

import codecs
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

# What a damaged or foreign pickle raises.
_DAMAGE = (
    *(pickle.UnpicklingError, EOFError, AttributeError, ImportError, LookupError, TypeError, ValueError),
    *(RuntimeError, AssertionError, MemoryError, struct.error),
)


def _encode(text: str, encoding: str) -> bytes:
    """Stand for ``codecs.encode``, with which old protocols write bytes."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'expected the encoding latin1, got {encoding!r}')
    return codecs.encode(text, 'latin1')


def _read_storage(content: bytes) -> Any:
    """Stand for ``torch.storage._load_from_bytes``, which reads anything."""
    return torch.load(BytesIO(content), map_location='cpu', weights_only=True)


def _allowed() -> dict[tuple[str, str], Callable]:
    """Return what may be called, by module and name."""
    core = getattr(np, '_core', None) or np.core
    allowed: dict[tuple[str, str], Callable] = {
        ('collections', 'OrderedDict'): OrderedDict,
        ('_codecs', 'encode'): _encode,
        ('numpy', 'ndarray'): np.ndarray,
        ('numpy', 'dtype'): np.dtype,
        ('torch', 'Size'): torch.Size,
        ('torch', 'device'): torch.device,
        ('torch._utils', '_rebuild_tensor_v2'): torch._utils._rebuild_tensor_v2,
        ('torch.storage', '_load_from_bytes'): _read_storage,
    }
    for kind in (set, frozenset, complex, bytearray, slice):
        allowed['builtins', kind.__name__] = kind
    # numpy 2 moved these; a file keeps the name of the version that wrote it.
    for package in ('numpy.core', 'numpy._core'):
        allowed[f'{package}.multiarray', '_reconstruct'] = core.multiarray._reconstruct
        allowed[f'{package}.multiarray', 'scalar'] = core.multiarray.scalar
        allowed[f'{package}.numeric', '_frombuffer'] = core.numeric._frombuffer
    return allowed


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Find what may be called."""
        # Pickles of Python 2, and of protocols below 3, call it so.
        module = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}.get(module, module)
        found = _allowed().get((module, name))
        if found is None:
            raise pickle.UnpicklingError(
                f'a reference to {module}.{name}, which is not on the allow-list of '
                'wsol_mm.utils.safe_pickle: reading it could run code from the file'
            )
        return found


def load_pickle(file: IO[bytes]) -> Any:
    """Read a pickle from an open file.

    Args:
        file: The file.

    Returns:
        What it holds.

    Raises:
        pickle.UnpicklingError: If it is none, is damaged or refers to what is not on the allow-list.
    """
    try:
        return _Unpickler(file).load()
    except pickle.UnpicklingError:
        raise
    except _DAMAGE as error:
        raise pickle.UnpicklingError(f'another file or a damaged one: {error}') from error


def read_pickle(path: str | Path) -> Any:
    """Read a file with a pickle.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is none, is damaged or refers to what is not on the allow-list; it names the file.
    """
    with open(path, 'rb') as file:
        try:
            return load_pickle(file)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f'{path}: expected a pickle of numbers, texts, arrays and tensors, got {error}'
            ) from error
