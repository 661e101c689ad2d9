"""Checkpoints of trainings whose optimizer had a group for every parameter."""

from typing import Any

from torch import nn
from torch.optim import Optimizer


def regroup_checkpoint(checkpoint: dict, optimizer: Optimizer, model: nn.Module) -> None:
    """Put what a checkpoint says of groups of one parameter each into the groups of an optimizer.

    So were they made from ``paramwise_cfg`` before parameters of equal settings shared a group. By which
    kernels the updates are made is a matter of this optimizer. Anything else is left as it is.

    Args:
        checkpoint: Its ``optimizer`` and ``param_schedulers``, if there are such, are changed in place.
        optimizer: The optimizer that is to go on.
        model: The model, whose order of parameters was that of the groups.

    Raises:
        ValueError: If parameters of one group had different settings.
    """
    saved, groups = checkpoint.get('optimizer', {}), optimizer.param_groups
    before = saved.get('param_groups', [])
    for group in before:
        group.update({name: groups[0].get(name) for name in ('fused', 'foreach') if name in group})
    number = sum(len(group['params']) for group in groups)
    if len(before) in (0, len(groups)) or [len(group['params']) for group in before] != [1] * number:
        return
    trained = {id(parameter) for group in groups for parameter in group['params']}
    in_order = [id(parameter) for parameter in model.parameters() if id(parameter) in trained]
    place = {parameter: number for number, parameter in enumerate(in_order)}
    # Of every group, the former groups of its parameters.
    former = [[place[id(parameter)] for parameter in group['params']] for group in groups]

    regrouped: list[dict] = []
    states: dict[int, Any] = {}
    now = 0
    for members in former:
        first = _settings(before[members[0]])
        regrouped.append({**first, 'params': list(range(now, now + len(members)))})
        for number in members:
            if _settings(before[number]) != first:
                raise ValueError(
                    'optimizer: expected one setting for all parameters of a parameter group, got a '
                    f'checkpoint with {first} and {_settings(before[number])}'
                )
            key = before[number]['params'][0]
            if key in saved['state']:
                states[now] = saved['state'][key]
            now += 1
    saved['param_groups'], saved['state'] = regrouped, states

    schedulers = checkpoint.get('param_schedulers', [])
    for scheduler in schedulers if isinstance(schedulers, list) else []:
        for name, values in scheduler.items():
            # MMEngine adds a last value, that of the optimizer's own settings.
            if isinstance(values, list) and len(values) in (len(before), len(before) + 1):
                scheduler[name] = [values[members[0]] for members in former] + values[len(before) :]


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != 'params'}
