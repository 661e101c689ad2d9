"""Keep small, sensitive computations out of half precision."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return ``tensor`` in float32 if it is in half precision, else unchanged (float64 stays)."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def autocast_off(tensor: Tensor) -> AbstractContextManager:
    """Return a context in which autocast leaves operations on the device of ``tensor`` alone."""
    return torch.autocast(device_type=tensor.device.type, enabled=False)


@contextmanager
def full_precision(tensor: Tensor) -> Iterator[None]:
    """Keep matrix products on the device of ``tensor`` out of autocast and of TF32.

    For iterations that magnify every rounding. PyTorch's settings, which hold for the whole process, are
    put back.
    """
    matmul = torch.backends.cuda.matmul
    try:
        common = torch.get_float32_matmul_precision()
    except RuntimeError:
        # The program has used the settings per backend (PyTorch 2.9 on), which must not be mixed with it.
        previous, matmul.fp32_precision = matmul.fp32_precision, 'ieee'
        try:
            with autocast_off(tensor):
                yield
        finally:
            matmul.fp32_precision = previous
        return
    torch.set_float32_matmul_precision('highest')
    try:
        with autocast_off(tensor):
            yield
    finally:
        torch.set_float32_matmul_precision(common)
