"""Random numbers that depend on what is done alone, not on what was done before."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(*parts: object) -> Iterator[None]:
    """Draw the same random numbers for the same parts, and leave the generators as they were.

    Those of Python, NumPy and PyTorch (on the CPU).

    Args:
        *parts: What the numbers depend on.
    """
    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    seed_generators(*parts)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])


def seed_generators(*parts: object) -> None:
    """Seed the generators of Python, NumPy and PyTorch by what the numbers depend on, GPUs included.

    Args:
        *parts: What they depend on.
    """
    text = ' '.join(map(str, parts))
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], 'little')
    random.seed(seed)
    np.random.seed(seed)
    # Not torch.manual_seed, which keeps a traceback for every call until a GPU is used.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
