"""Weights and images of a case: carried in its npz, or drawn as its recipe says."""

import re
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from . import Case


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return standard normal numbers in double precision, seeded with the CRC-32 of ``name``."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return generator.standard_normal(shape)


#: Keys under which a description says that weights are to be drawn, and which of them scale a norm.
_RECIPE_KEYS = ('weights_recipe', 'recipe', 'weights')
_NORM_KEYS = ('norm_weight_names', 'norm_weights')
_NORM_WEIGHT = re.compile(r'(.+\.)?(\w*norm\d?|ln\d?|bn\d?|\w*_bn)\.weight')
#: What is added to the numbers drawn for an entry, by its last name.
_OFFSETS = {'thred': 0.5, '_loss_rate': 1.0}


def reference_state(
    case: Case, parameters: Mapping[str, Sequence[int]] | None = None
) -> dict[str, torch.Tensor]:
    """Return the reference model's weights and buffers under their official names.

    Args:
        case: The case.
        parameters: Official names and shapes for a recipe whose description does not list them.

    Returns:
        The weights; without those that the description lists as ``not_filled``, which keep what the
        reference's constructor gives them.

    Raises:
        ValueError: If the case neither carries weights nor has a recipe for them.
    """
    carried = {name[6:]: array for name, array in case.arrays.items() if name.startswith('state/')}
    if carried:
        return {name: torch.from_numpy(array) for name, array in carried.items()}
    if not any(key in case.meta for key in _RECIPE_KEYS):
        raise ValueError(f'{case.system}/{case.name} has neither state/ arrays nor a recipe for weights')
    parameters = case.meta.get('parameters') or case.meta.get('state_dict') or parameters
    if parameters is None:
        raise ValueError(f'{case.system}/{case.name} does not list the parameters of its recipe')
    if not isinstance(parameters, Mapping):  # name and shape, or these and a type
        parameters = {name: shape for name, shape, *_ in parameters}
    listed = next((case.meta[key] for key in _NORM_KEYS if key in case.meta), None)
    ones = {name for name in parameters if _NORM_WEIGHT.fullmatch(name)} if listed is None else set(listed)
    state = {}
    for name, shape in parameters.items():
        if name in case.meta.get('not_filled', ()):
            continue
        if name.endswith('num_batches_tracked'):
            state[name] = torch.zeros((), dtype=torch.int64)
            continue
        # Cast before anything is added, as the recipe says.
        value = (0.02 * draw(name, tuple(shape))).astype(np.float32)
        if name.endswith('.running_var'):
            value = 1 + np.abs(value)
        elif name in ones:
            value = 1 + value
        value = value + np.float32(_OFFSETS.get(name.rpartition('.')[2], 0.0))
        state[name] = torch.from_numpy(value)
    return state


def reference_images(case: Case) -> torch.Tensor:
    """Return the input batch, (B, 3, H, W) float32."""
    if 'in/image' in case.arrays:
        return torch.from_numpy(case.arrays['in/image'])
    return torch.from_numpy(draw('in/image', _image_shape(case)).astype(np.float32))


def _image_shape(case: Case) -> tuple[int, ...]:
    meta = case.meta
    if 'input' in meta:
        return meta['input']['batch'], 3, meta['input']['height'], meta['input']['width']
    for key in ('image', 'input_size', 'input_shape'):
        if key in meta and not isinstance(meta[key], str):
            return tuple(meta[key])
    described = ' '.join(text for text in map(meta.get, ('input_recipe', 'image')) if isinstance(text, str))
    written = re.search(r'standard_normal\(\(([\d, ]+)\)\)', described)
    if written is None:
        raise ValueError(f'{case.system}/{case.name} has neither in/image nor a shape for its images')
    return tuple(int(side) for side in written[1].split(','))
