"""Weights and images of a case: carried in its npz, or drawn as its recipe says."""

import zlib

import numpy as np
import torch

from . import Case


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return standard normal numbers in double precision, seeded with the CRC-32 of ``name``."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return generator.standard_normal(shape)


def reference_state(case: Case) -> dict[str, torch.Tensor]:
    """Return the reference model's weights and buffers under their official names.

    Raises:
        ValueError: If the case neither carries weights nor has a recipe for them.
    """
    carried = {name[6:]: array for name, array in case.arrays.items() if name.startswith('state/')}
    if carried:
        return {name: torch.from_numpy(array) for name, array in carried.items()}
    if 'weights_recipe' not in case.meta:
        raise ValueError(f'{case.system}/{case.name} has neither state/ arrays nor a weights_recipe')
    ones = set(case.meta['norm_weight_names'])
    state = {}
    for name, shape in case.meta['parameters'].items():
        if name.endswith('num_batches_tracked'):
            state[name] = torch.zeros((), dtype=torch.int64)
            continue
        value = 0.02 * draw(name, tuple(shape))
        if name.endswith('.running_var'):
            value = 1 + np.abs(value)
        elif name in ones:
            value = 1 + value
        state[name] = torch.from_numpy(value.astype(np.float32))
    return state


def reference_images(case: Case) -> torch.Tensor:
    """Return the input batch, (B, 3, H, W) float32."""
    if 'in/image' in case.arrays:
        return torch.from_numpy(case.arrays['in/image'])
    size = case.meta['input']
    shape = (size['batch'], 3, size['height'], size['width'])
    return torch.from_numpy(draw('in/image', shape).astype(np.float32))
