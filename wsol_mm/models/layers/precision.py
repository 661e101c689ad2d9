"""Keep small, sensitive computations out of half precision."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return ``tensor`` in float32 if it is in half precision, else unchanged (float64 stays)."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def autocast_off(tensor: Tensor) -> AbstractContextManager:
    """Return a context in which autocast leaves operations on the device of ``tensor`` alone."""
    return torch.autocast(device_type=tensor.device.type, enabled=False)
