"""Whether the logits of a classifier are linear in its last map, as Class Activation Mapping supposes."""

from typing import NamedTuple

from wsol_mm.models.utils.precision import at_least_float32, autocast_off

import torch
from torch import Tensor, nn

from .probing import Probe, Record


class LinearForm(NamedTuple):
    """How the logits come from the last map.

    Attributes:
        classifier: Name of the linear layer (or 1x1 convolution) that gives the logits; None if the map
            itself has a channel per class.
        norm: Name of the layer normalisation between the mean over the positions and the linear layer.
    """

    classifier: str | None
    norm: str | None = None


def find_linear_form(probe: Probe, layer: str) -> LinearForm | None:
    """Find how the logits come from the map of a layer, checked with the numbers of a probe.

    The linear layer reads the mean over the positions of the map, that mean after a layer normalisation, or
    the class token beside the map.

    Args:
        probe: Of the classifier.
        layer: Name of the layer.

    Returns:
        None if the logits have another form.
    """
    record = probe.record_of(layer)
    feature_map = probe.map_at(record)
    if feature_map is None:
        return None
    mean = feature_map.mean(dim=(2, 3))
    if _equal(mean, probe.logits):
        return LinearForm(None)
    linear = next(
        (
            found
            for found in reversed(probe.records)
            if isinstance(found.module, nn.Linear | nn.Conv2d)
            and _equal(found.output.flatten(1), probe.logits)
        ),
        None,
    )
    if linear is None or linear.input is None or linear.input.numel() != mean.numel():
        return None
    layout = probe.layout_of(record.output)
    token = record.output[:, 0] if layout is not None and layout.prefix else mean
    if any(_equal(linear.input.flatten(1), pooled) for pooled in (mean, token)):
        return LinearForm(linear.name)
    norm = _norm_between(probe, mean, linear)
    return None if norm is None else LinearForm(linear.name, norm)


def _norm_between(probe: Probe, mean: Tensor, linear: Record) -> str | None:
    for record in reversed(probe.records):
        if isinstance(record.module, nn.LayerNorm) and record.input is not None and linear.input is not None:
            before, after = record.input, record.output
            if before.numel() == mean.numel() and _equal(before.flatten(1), mean):
                return record.name if _equal(after.flatten(1), linear.input.flatten(1)) else None
    return None


def _equal(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape:
        return False
    return torch.allclose(first, second, rtol=1e-4, atol=1e-4 * float(second.abs().max()))


def normalised_like_mean(feature_map: Tensor, norm: nn.Module) -> Tensor:
    """Apply a layer normalisation to all positions, with the statistics that their mean has.

    The mean over the positions of the result is the normalised mean, so that logits which are linear in that
    are linear in the result.

    Args:
        feature_map: (B, D, h, w).
        norm: Layer normalisation over the D channels.

    Returns:
        (B, D, h, w), in float32 or better.
    """
    with autocast_off(feature_map):
        feature_map = at_least_float32(feature_map)
        mean = feature_map.mean(dim=(2, 3), keepdim=True)
        centre = mean.mean(dim=1, keepdim=True)
        scale = (mean.var(dim=1, keepdim=True, unbiased=False) + norm.eps).rsqrt()
        normalised = (feature_map - centre) * scale
        if norm.weight is None:
            return normalised
        weight, bias = (part.to(normalised.dtype)[:, None, None] for part in (norm.weight, norm.bias))
        return normalised * weight + bias


def class_weights(module: nn.Module | None, channels: int, like: Tensor) -> Tensor:
    """Return the weights (C, D) of a linear layer or 1x1 convolution; the identity where there is none."""
    if module is None:
        return torch.eye(channels, dtype=like.dtype, device=like.device)
    return module.weight.detach().flatten(1)
