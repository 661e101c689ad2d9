"""What the cases of CATR and CDTR have in common: tolerances, official names, and comparing every array."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from wsol_mm.models.weights import OFFICIAL_METHODS

import numpy as np
from torch import Tensor

from . import Case, Comparison, close, equal

Found = dict[str, Tensor | np.ndarray]

_NUMBER = r'([\d.]+(?:e-?\d+)?)'
#: The tolerances of a description, in its words.
_WORDS = {
    'forward': rf'max abs error <= {_NUMBER} \+ {_NUMBER} \* max abs of the array',
    'losses': rf'abs error <= {_NUMBER} \* \(1 \+ abs value\)',
    'grad': rf'max abs error <= {_NUMBER} \* max abs of the array \+ {_NUMBER}',
}


def compare_all(case: Case, found: Mapping[str, Tensor | np.ndarray]) -> list[Comparison]:
    """Compare every array of a case that is no input; what is listed and not computed is a failure."""
    results = []
    for name in sorted({*case.arrays, *case.meta.get('arrays', ())}):
        if re.match(r'(state|in\d*)/', name):
            continue
        if name not in case.arrays:
            results.append(Comparison(f'{name} (listed, but not in the npz)', float('inf'), 0.0))
        elif name not in found:
            results.append(Comparison(f'{name} (not checked)', float('inf'), 0.0))
        else:
            results.append(compare_array(case, name, found[name]))
    return results


def compare_array(case: Case, name: str, found: Tensor | np.ndarray) -> Comparison:
    """Compare one array: integers for equality, others within the tolerance of the case."""
    found = found.detach().numpy() if isinstance(found, Tensor) else np.asarray(found)
    expected = case.arrays[name]
    if np.issubdtype(expected.dtype, np.integer):
        return equal(name, found, expected)
    return close(name, found, expected, tolerance_of(case, name))


def tolerance_of(case: Case, name: str) -> float:
    """Return the tolerance that the description of a case states for an array.

    Raises:
        ValueError: If the description says it in other words.
    """
    kind, _, rest = name.partition('/')
    largest = float(np.abs(case.arrays[name]).max(initial=0.0))
    if kind.startswith('grad') or rest.startswith('grad_'):
        relative, absolute = _stated(case, 'grad')
        return relative * largest + absolute
    if re.search(r'(^|_)(loss|sum)(_|$)', rest):
        return _stated(case, 'losses')[0] * (1 + largest)
    absolute, relative = _stated(case, 'forward')
    return absolute + relative * largest


def _stated(case: Case, kind: str) -> list[float]:
    text = case.meta['tolerance'][kind]
    match = re.fullmatch(_WORDS[kind], text)
    if match is None:
        raise ValueError(f'{case.system}/{case.name}: tolerance {kind!r} is not understood: {text!r}')
    return [float(number) for number in match.groups()]


def our_names(official: Iterable[str]) -> dict[str, str]:
    """Return official names to names here, by the table of the converter.

    A name here that ends in a number in brackets is a part of an entry: see :func:`part_of`.

    Raises:
        ValueError: If the converter does not know a name.
    """
    layout = OFFICIAL_METHODS['cdtr'].layouts[0]
    names = {name: layout.rename(name) for name in official}
    unknown = [name for name, ours in names.items() if ours is None]
    if unknown:
        raise ValueError(f'names that the converter does not know: {", ".join(unknown)}')
    return names


def part_of(values: Mapping[str, Any], name: str) -> Any:
    """Return the entry ``name`` of tensors here, or its part, e.g. ``head.ocm.branch_conv.weight[3]``."""
    match = re.fullmatch(r'(.+)\[(\d+)\]', name)
    if match is None:
        return values[name]
    whole, index = values[match[1]], int(match[2])
    return whole if whole.ndim == 0 else whole[index : index + 1]


def official_arrays(case: Case, prefix: str, values: Mapping[str, Tensor], owner: str = '') -> Found:
    """Return tensors here under the names of those arrays of a case that start with ``prefix``.

    Args:
        case: The case.
        prefix: E.g. ``'state_after/'``.
        values: Tensors by their names here.
        owner: Official name of the module to which the names of the arrays are relative, with a dot.

    Returns:
        The tensors of all names that ``values`` has.
    """
    listed = [name.removeprefix(prefix) for name in case.arrays if name.startswith(prefix)]
    names = our_names(owner + name for name in listed if not name.startswith('in_'))
    return {
        prefix + official.removeprefix(owner): part_of(values, ours)
        for official, ours in names.items()
        if re.sub(r'\[\d+\]$', '', ours) in values
    }
