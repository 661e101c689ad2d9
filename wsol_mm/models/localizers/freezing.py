"""Freezing of parameters by their names."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def freeze_parameters(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Switch off the gradients of the parameters whose names match a pattern.

    Args:
        model: The model.
        patterns: Shell patterns for whole names: ``*`` stands for anything, dots too, ``?`` for one
            character, ``[0-8]`` for one of these, ``[!0-8]`` for none of these.

    Returns:
        Names of the frozen parameters.

    Raises:
        ValueError: If a pattern matches no parameter, or no parameter is left to train.
        TypeError: If ``patterns`` is a string, which would be taken for many patterns of one character.
    """
    if isinstance(patterns, str):
        raise TypeError(f'frozen: expected a list of patterns, got the string {patterns!r}')
    parameters = dict(model.named_parameters())
    frozen = set()
    for pattern in patterns:
        matched = [name for name in parameters if fnmatchcase(name, pattern)]
        if not matched:
            raise ValueError(
                f'frozen: expected patterns of names such as {list(parameters)[:3]} ... '
                f'{list(parameters)[-2:]}, got {pattern!r}, which matches no parameter'
            )
        frozen.update(matched)
    if patterns and len(frozen) == len(parameters):
        raise ValueError(
            f'frozen: expected patterns that leave a parameter to train, got {list(patterns)!r}, which match '
            f'all {len(parameters)}'
        )
    for name in frozen:
        parameters[name].requires_grad_(False)
    return [name for name in parameters if name in frozen]


def frozen_batch_norms(model: nn.Module) -> list[nn.Module]:
    """Find the batch normalisations whose own parameters are all frozen.

    Args:
        model: The model.

    Returns:
        These layers; not those without parameters.
    """
    found = []
    for module in model.modules():
        own = list(module.parameters(recurse=False)) if isinstance(module, _BatchNorm) else []
        if own and not any(parameter.requires_grad for parameter in own):
            found.append(module)
    return found
