"""Read the weights of a TorchScript archive as plain tensors: none of its code is compiled or run."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# What the containers of an archive are made by: lists of numbers.
_LISTS = ('build_intlist', 'build_doublelist', 'build_boollist', 'build_tensorlist')
# Types of storages, by the names that the archive has for them.
_DTYPES = {
    'FloatStorage': torch.float32,
    'DoubleStorage': torch.float64,
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'BoolStorage': torch.bool,
    'ByteStorage': torch.uint8,
    'CharStorage': torch.int8,
    'ShortStorage': torch.int16,
    'IntStorage': torch.int32,
    'LongStorage': torch.int64,
}


class _Module:
    """What an object of the archive's own classes becomes: a bag of attributes."""


def _keep(values: Any, *more: Any) -> Any:
    return values


class _Unpickler(pickle.Unpickler):
    """Reads ``data.pkl``: objects become bags of attributes, storages come from the archive."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(archive.open(f'{root}/data.pkl'))
        self._archive, self._root = archive, root
        self._storages: dict[str, torch.UntypedStorage] = {}

    def find_class(self, module: str, name: str) -> Callable | torch.dtype:
        """Find what an archive may refer to."""
        if module.startswith('__torch__'):
            return _Module
        if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
            return torch._utils._rebuild_tensor_v2
        if (module, name) == ('collections', 'OrderedDict'):
            return dict
        if module == 'torch.jit._pickle' and name in _LISTS:
            return _keep
        if module == 'torch' and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(
            f'a reference to {module}.{name}: reading it could run code from the file'
        )

    def persistent_load(self, pid: Any) -> torch.storage.TypedStorage:
        """Read a storage: its type, its file in the archive, its place and its size."""
        _, dtype, key, _, _ = pid
        if key not in self._storages:
            content = bytearray(self._archive.read(f'{self._root}/data/{key}'))
            self._storages[key] = torch.frombuffer(content, dtype=torch.uint8).untyped_storage()
        return torch.storage.TypedStorage(wrap_storage=self._storages[key], dtype=dtype, _internal=True)


def read_torchscript_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors among the attributes of an archive's modules.

    Args:
        path: What ``torch.jit.save`` wrote.

    Returns:
        Names, as in ``state_dict``, to tensors on the CPU.

    Raises:
        ValueError: If it is another file or a damaged one, or refers to what an archive has no need of.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (root,) = (name[: -len('/data.pkl')] for name in archive.namelist() if name.endswith('/data.pkl'))
            content = _Unpickler(archive, root).load()
        weights: dict[str, Tensor] = {}
        _collect(content, '', weights)
        return weights
    except (
        *(pickle.UnpicklingError, zipfile.BadZipFile, EOFError, LookupError, TypeError, ValueError),
        *(AttributeError, RuntimeError, MemoryError),
    ) as error:
        raise ValueError(f'{path}: expected a TorchScript archive of weights, got {error}') from error


def _collect(module: Any, prefix: str, weights: dict[str, Tensor]) -> None:
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            weights[f'{prefix}{name}'] = value
        elif isinstance(value, _Module):
            _collect(value, f'{prefix}{name}.', weights)
