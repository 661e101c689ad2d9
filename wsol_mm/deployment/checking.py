"""Comparison of an exported model with the one it was made from."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from .choices import BATCH_SIZES
from .deployed_localizer import DeployedLocalizer

#: From inputs, as arrays in the order of ``DeployedLocalizer.input_names``, to outputs.
RunFunction = Callable[[Sequence[NDArray]], Sequence[NDArray]]


def output_deviation(name: str, expected: NDArray, found: NDArray) -> float:
    """Return how far an output is from what it should be.

    Args:
        name: ``'scores'``, ``'maps'`` or ``'map_labels'``.
        expected: Of PyTorch.
        found: Of the exported model.

    Returns:
        The largest difference of scores; that of maps, whose range is the method's own, over the largest
        absolute value of the image's maps; of labels 0 if they are equal. Infinite if shapes or labels
        differ, or a value is not finite.
    """
    if expected.shape != found.shape or not np.isfinite(found).all():
        return float('inf')
    if name == 'map_labels':
        return 0.0 if np.array_equal(expected, found) else float('inf')
    difference = np.abs(expected.astype(np.float64) - found).reshape(len(expected), -1).max(axis=1)
    if name == 'maps':
        scale = np.abs(expected).reshape(len(expected), -1).max(axis=1)
        difference = difference / np.maximum(scale, np.finfo(np.float32).tiny)
    return float(difference.max())


def worst_deviations(
    model: DeployedLocalizer,
    run: RunFunction,
    shape: tuple[int, int],
    batch_sizes: Sequence[int] = BATCH_SIZES,
) -> dict[str, float]:
    """Run an exported model and the one it was made from on the same images.

    Args:
        model: The model, on the CPU.
        run: Runs the exported one.
        shape: Height and width of the images.
        batch_sizes: Batches that are run.

    Returns:
        The worst :func:`output_deviation` of every output.
    """
    worst = dict.fromkeys(model.output_names, 0.0)
    for batch in batch_sizes:
        inputs = model.example_inputs(shape, batch, seed=batch)
        with torch.no_grad():
            expected = model(*inputs)
        found = run([value.numpy() for value in inputs])
        for name, one, other in zip(model.output_names, expected, found, strict=True):
            worst[name] = max(worst[name], output_deviation(name, one.numpy(), np.asarray(other)))
    return worst
