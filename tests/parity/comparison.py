"""Comparing what the library computes with what a reference stored."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .case import Case

#: Times that float32 may miss by what it is known to miss by.
_TIMES = 4.0
#: Shares of the largest value beyond which a distance is no rounding: in a reference's array, which was
#: checked where it was made, and in a run here, where a ReLU may switch.
_STORED, _SINGLE = 1e-4, 5e-2
#: The first of these shares, by the name of an array, where a case knows better.
Share = Callable[[Case, str], float]
#: Share of the largest value by which a float64 run may differ from a float64 reference.
_DOUBLE = 1e-9


@dataclass(frozen=True)
class Comparison:
    """One compared quantity: it agrees if ``error <= tolerance``.

    Attributes:
        name: Of the quantity.
        error: The largest error over its tolerance.
        tolerance: What it may be.
        rounding: What the rounding of float32 could explain at most, of some processor.
    """

    name: str
    error: float
    tolerance: float
    rounding: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the quantity agrees; a NaN error never does."""
        return bool(self.error <= self.tolerance)

    @property
    def ratio(self) -> float:
        """Error over tolerance; at least 1 if it does not agree."""
        if self.ok:
            return self.error / self.tolerance if self.tolerance else 0.0
        return float('inf') if self.tolerance == 0 else max(self.error / self.tolerance, 1.0)


Found = dict[str, Any]
#: From a case, the name of an array and the array: its tolerance, or None where comparing would mean nothing.
Tolerance = Callable[[Case, str, NDArray], Any]


def failure(text: str) -> Comparison:
    """Return a comparison that fails, for what cannot be compared."""
    return Comparison(text, float('inf'), 0.0)


def equal(name: str, found: Any, expected: Any) -> Comparison:
    """Compare for equality; the error is the number of different entries."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return failure(f'{name} (shape {found.shape} for {expected.shape})')
    return Comparison(name, float(np.count_nonzero(found != expected)), 0.0)


def close(name: str, found: Any, expected: Any, tolerance: Any) -> Comparison:
    """Compare within an absolute tolerance, one for all or per entry; NaN is equal to NaN.

    Error and tolerance are those of the worst place.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        return failure(f'{name} (shape {found.shape} for {expected.shape})')
    if not found.size:
        return Comparison(name, 0.0, 0.0)
    tolerance = np.broadcast_to(np.asarray(tolerance, np.float64), found.shape)
    error = np.where(np.isnan(found) & np.isnan(expected), 0.0, np.abs(found - expected))
    with np.errstate(divide='ignore', invalid='ignore'):
        ratio = np.where(error == 0, 0.0, np.nan_to_num(error / tolerance, nan=np.inf))
    worst = np.unravel_index(np.argmax(ratio), ratio.shape)
    return Comparison(name, float(error[worst]), float(tolerance[worst]))


def close_in_double(
    name: str,
    stored: NDArray,
    single: NDArray,
    double: NDArray,
    tolerance: Any,
    noise: float = 0.0,
    share: float = _STORED,
) -> Comparison:
    """Compare a stored float32 array with a float32 and a float64 run of the library.

    Float32 results differ from one processor to the next, and some by more than a tolerance: a stored array
    has the rounding of the machine that made it, a float32 run that of the machine that it runs on. The
    float64 run has neither, so it is the truth that both are held against. Each may miss it by the tolerance,
    or by four times what float32 is seen to miss by in the same quantity: the stored array by four times the
    error of the float32 run, the float32 run by four times the error of the stored array, and both by four
    times ``noise``. A wrong formula is wrong in both runs, which then agree with each other and not with the
    stored array; one that is wrong in one precision alone leaves the other two together. Whatever float32
    shows, a ten-thousandth of the largest value is no rounding in a stored array, and a twentieth in no run.

    Args:
        name: Of the quantity.
        stored: The reference's float32 array.
        single: The library's in float32.
        double: The library's in float64.
        tolerance: Absolute, a number or one per entry.
        noise: What else is known of the error of float32 in this quantity, by :mod:`tests.parity.rounding` or
            another way to compute it.
        share: Of the largest value, what may be rounding in the stored array.

    Returns:
        The worse of the two comparisons.
    """
    if not stored.shape == single.shape == double.shape:
        return failure(f'{name} (shape {single.shape} for {stored.shape})')
    counts = np.broadcast_to(np.isfinite(tolerance), stored.shape)
    largest = np.abs(double).max(initial=0.0, where=np.isfinite(double) & counts)
    shown = [_TIMES * max(noise, _distance(found, double, counts)) for found in (single, stored)]
    limits = (share * largest, max(share, _SINGLE) * largest)
    allowed = [np.maximum(tolerance, min(*pair)) for pair in zip(shown, limits, strict=True)]
    results = (
        replace(close(name, double, stored, allowed[0]), rounding=limits[0]),
        replace(close(f'{name} in float32', single, double, allowed[1]), rounding=limits[1]),
    )
    return max(results, key=lambda result: (result.ratio, result.error > result.rounding))


def _distance(found: NDArray, truth: NDArray, counts: Any = True) -> float:
    """Return the largest difference between two arrays, 0 if their shapes differ; NaN does not count."""
    if found.shape != truth.shape or truth.dtype.kind != 'f':
        return 0.0
    missed = np.abs(found.astype(np.float64) - truth)
    return float(missed.max(initial=0.0, where=np.isfinite(missed) & counts))


def compare_case(
    case: Case,
    single: Found,
    double: Found,
    tolerance: Tolerance,
    rounded: Sequence[Found] = (),
    share: Share = lambda case, name: _STORED,
) -> list[Comparison]:
    """Compare every array of a case that is no input; what is listed and not computed is a failure.

    A name with an addition in brackets is another way to compute an array: ``out/x (pooled)`` is compared as
    ``out/x``, and ``out/x (plain formula)`` is what the library's float64 result must be, so that the error
    of the stored array is known.

    Args:
        case: The case.
        single: What a float32 run of the library computes, by the names of the arrays; comparisons among them
            are results as they are.
        double: The same in float64.
        tolerance: Gives the tolerance of an array.
        rounded: The same in float64 with the rounding of float32.
        share: Gives what may be rounding in a stored array, as a share of its largest value.
    """
    results = [value for value in single.values() if isinstance(value, Comparison)]
    for name in sorted(case.listed()):
        if re.match(r'(c\d+/)?(in\d*|state)/', name):
            continue
        if name not in case.arrays:
            results.append(failure(f'{name} (listed, but not in the npz)'))
            continue
        plain = re.sub(r'^((?:c\d+/)?(?:out|grad))64([/_])', r'\1\2', name)
        ways = [plain] if plain in single else [base for base in _whole(plain) if base in single][:1]
        if not ways:
            results.append(failure(f'{name} (not checked)'))
        ways += [way for way in single if way.startswith(f'{plain} (')]
        limit, noise = tolerance(case, name, case.arrays[name]), 0.0
        if limit is not None:
            limit = np.maximum(limit, _TIMES * noise_of(case, name))
        for way in ways if limit is not None else ():
            runs = (single[way], double.get(way, single[way]), *(run[way] for run in rounded if way in run))
            found, truth, *others = (case.thinned(name, as_array(value)) for value in runs)
            noise = max(noise, *(_distance(other, truth) for other in (*others, truth)))
            if way == f'{plain} (plain formula)':
                exact = _DOUBLE * np.abs(truth).max(initial=0.0)
                results.append(close(way, case.thinned(name, as_array(double[plain])), truth, exact))
                continue
            if (formula := double.get(f'{plain} (plain formula)')) is not None:
                noise = max(noise, _distance(case.arrays[name], as_array(formula)))
            title = name if way == ways[0] else way
            results.append(_compare(case, name, title, found, truth, limit, noise, share(case, name)))
    return results


def _whole(name: str) -> list[str]:
    """Names under which an array is computed of which a case stores every N-th entry."""
    return [re.sub(r'_(sub|s\d+|every\d+(st|nd|rd|th)?|first\d*)$', '', name)]


def _compare(
    case: Case,
    name: str,
    title: str,
    single: NDArray,
    double: NDArray,
    tolerance: Any,
    noise: float,
    share: float,
) -> Comparison:
    stored = case.arrays[name]
    if stored.dtype.kind in 'iub':
        # A threshold on rounding: what the truth gives is right as well.
        results = [equal(title, found, stored) for found in (single, double)]
        return min(results, key=lambda result: result.error)
    if re.match(r'(c\d+/)?(out|grad)64[/_]', name):
        return close(title, double, stored, tolerance)
    if name in case.half:
        tolerance = np.asarray(tolerance) + 2.0**-11 * np.abs(stored) + 2.0**-25
    return close_in_double(title, stored, single, double, tolerance, noise, share)


def as_array(value: Any) -> NDArray:
    """Return a tensor, array or number as an array."""
    return value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)


def noise_of(case: Case, name: str) -> float:
    """Return the error of a stored array against a float64 run of the reference, if the case states it."""
    kind, _, rest = name.partition('/')
    keys = (name, rest, re.sub(r'^train/after_\d+_steps', 'after_steps', rest))
    for title, described in case.meta.items():
        pattern = r'.*(float64_deviation|float32_noise|f32_vs_f64|fp32_vs_fp64|f64_deviation).*'
        if not re.fullmatch(pattern, title) or not isinstance(described, Mapping):
            continue
        if kind == 'grad' and not title.startswith('grad') and name not in described:
            continue
        for key in keys:
            value = described.get(key)
            if isinstance(value, Mapping):
                value = next((number for text, number in value.items() if re.search('64', text)), None)
            if isinstance(value, int | float):
                largest = np.abs(case.arrays[name]).max(initial=0.0) if 'over_max' in title else 1.0
                return float(value * largest)
    return 0.0


# -------------------------------------------------------------------- tolerances in words

_WORD = r'(?<![\w.])(\d+\.?\d*(?:e[+-]?\d+)?)(?![\w.]*/)'
_SHARE_AFTER = r'\s*(\*|x|times|of|relative to)?\s*(the |its )?(max|largest|peak|relative)|\s*relative to'
_SHARE_BEFORE = r'(relative to|over)[^:;]*:\s*$'


def stated_tolerance(case: Case, name: str, expected: NDArray, defaults: Mapping | None = None) -> NDArray:
    """Return the tolerance of every entry of an array, as the description of the case states it.

    Args:
        case: The case.
        name: Of the array.
        expected: The array.
        defaults: Tolerances of kinds that the description does not state, in its words.

    Raises:
        ValueError: If the description says it in words that are not understood.
    """
    if re.match(r'(c\d+/)?(out|grad)64[/_]', name):
        return np.asarray(_DOUBLE * np.abs(expected).max(initial=0.0))
    text = _select(case, name, defaults or {})
    absolute, relative, share = _limits(case, name, text)
    magnitude = np.abs(np.nan_to_num(np.asarray(expected, np.float64)))
    return absolute + relative * magnitude + share * magnitude.max(initial=0.0)


def _select(case: Case, name: str, defaults: Mapping) -> Any:
    """Return what a description says on the tolerance of an array: the most special entry."""
    stated = case.get('tolerance')
    if not isinstance(stated, Mapping):
        return stated
    parts = re.sub(r'^c\d+/', '', name).split('/')
    kind, last = parts[0], parts[-1]
    keys = [last, '/'.join(parts[1:])]
    if kind.startswith('grad') or last.startswith('grad_'):
        keys += ['grad', 'grads', 'gradient', 'gradients']
    else:
        if re.search(r'(^|/)(param_after|state_after|after_\d+_steps|after|step\d+)/', name):
            keys += ['param_after', 'params', 'parameters', 'state_after']
        if re.search(r'(^|_)(loss|losses|sum)(_|$)', last):
            keys += ['losses', 'loss']
        keys += ['out', 'forward', 'outputs', 'output']
        if last != 'logits':
            keys += ['maps', 'map']
    for key in keys:
        for source in (stated, defaults):
            if key in source:
                return source[key]
    return {key: stated[key] for key in ('atol', 'rtol') if key in stated} or stated


def _limits(case: Case, name: str, text: Any) -> tuple[float, float, float]:
    """Return absolute and relative tolerance, and the share of the largest value."""
    if isinstance(text, Mapping) and {'atol', 'rtol'} & {*text}:
        return float(text.get('atol', 0.0)), float(text.get('rtol', 0.0)), 0.0
    if isinstance(text, int | float):
        return float(text), 0.0, 0.0
    if isinstance(text, str):
        if re.match(r'\s*(exact|equal|identical)', text):
            return 0.0, 0.0, 0.0
        words = re.sub(r'\*\s*\(1 \+ [^)]*\)', '@scalar', text)
        words = re.sub(r'\([^()]*\)', '', words)
        limits = [0.0, 0.0, 0.0]
        end, found = 0, list(re.finditer(_WORD, words))
        for number, following in zip(found, [*found, None][1:], strict=True):
            before = words[end : number.start()]
            after = words[number.end() : following.start() if following else None]
            end, value = number.end(), float(number[1])
            if re.match(r'\s*@scalar', after):
                limits[0] += value
                limits[1] += value
            elif re.match(_SHARE_AFTER, after) or re.search(_SHARE_BEFORE, before):
                limits[2] += value
            else:
                limits[1 if re.search(r'rel(ative|\.)?\s*$', before) else 0] += value
        if found:
            return limits[0], limits[1], limits[2]
    accepted = '"exact", a number, atol and rtol, or words such as "abs 1e-5 + rel 1e-5", "1e-4 * max"'
    raise case.error(f'tolerance of {name}', text, accepted)
