"""Cases of the ts_cam schedule: learning rate per epoch, optimizer groups, drop-path rates."""

import re
from collections.abc import Mapping

from wsol_mm.registry import MODELS, PARAM_SCHEDULERS

import numpy as np
import torch
from torch import nn

from . import Case, Comparison, close, register
from .model_runs import group_comparison, quiet
from .ts_cam_models import build_optimizer, names_of_groups

# The registered names of the reference: architecture, width, channels of the convolutional branch.
_DEIT = {'tiny': 192, 'small': 384, 'base': 768}
_CONFORMER = {'tiny': (384, 256), 'small': (384, 1024), 'base': (576, 1536)}


@register('ts_cam', lambda case: str(case.meta.get('kind', '')).startswith('learning-rate schedule'))
def check_schedule(case: Case) -> list[Comparison]:
    """Compare all tables of learning rates, optimizer groups and drop-path rates."""
    results = [
        check_rates(name, array, case.meta['arrays'][name]['meaning']) for name, array in case.arrays.items()
    ]
    for name, groups in case.meta['groups'].items():
        reference, _, aspect = name.partition('/')
        values = sum(group['n_values'] for group in case.meta['groups'][reference])
        model = build_reference(reference, values)
        if aspect == 'drop_path':
            results.append(check_drop_path(name, model, groups))
        elif aspect == '':
            results += check_groups(name, model, groups)
        else:
            results.append(Comparison(f'{name} (not checked)', float('inf'), 0.0))
    return results


def check_rates(name: str, expected: np.ndarray, meaning: str) -> Comparison:
    """Run the scheduler that the description of a table speaks of."""
    start = re.search(r'start ([\d.]+(?:e-?\d+)?)', meaning)
    steps = re.search(r'LR_STEPS \[([\d, ]+)\]', meaning)
    gamma = re.search(r'factor ([\d.]+)', meaning)
    if start is None or steps is None:
        return Comparison(f'{name} (its description gives no start and LR_STEPS)', float('inf'), 0.0)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=float(start[1]))
    scheduler = PARAM_SCHEDULERS.build(
        dict(
            type='ModuloStepLR',
            optimizer=optimizer,
            steps=[int(step) for step in steps[1].split(',')],
            gamma=float(gamma[1]) if gamma else 0.1,
        )
    )
    rates = []
    for _ in range(len(expected)):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    relative = np.array(rates) / expected
    return close(name, relative, np.ones_like(expected), 1e-12)


def build_reference(name: str, values: int) -> nn.Module:
    """Return the model of a registered name, with 200 or 1000 classes by its number of weights.

    Raises:
        ValueError: If the name is not known or the number of weights fits no such model.
    """
    kind = re.fullmatch(r'(deit|conformer)_tscam_(tiny|small|base)_patch16(?:_224)?', name)
    if kind is None:
        raise ValueError(f'no model is known under the name {name}')
    family, size = kind.groups()
    for classes in (200, 1000):
        if family == 'deit':
            backbone = dict(type='TokenVisionTransformer', arch=f'deit-{size}', drop_path_rate=0.1)
            head = dict(in_channels=_DEIT[size])
        else:
            backbone = dict(type='TokenConformer', arch=size, drop_path_rate=0.1)
            head = dict(in_channels=_CONFORMER[size][0], conv_channels=_CONFORMER[size][1])
        head = dict(type='TSCAMHead', num_classes=classes, **head)
        model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head))
        if sum(parameter.numel() for parameter in model.parameters()) == values:
            return model
    raise ValueError(f'{name} has {values} weights with neither 200 nor 1000 classes')


def check_groups(name: str, model: nn.Module, groups: list[Mapping]) -> list[Comparison]:
    """Compare members and sizes of the optimizer's groups."""
    with quiet():
        wrapper = build_optimizer(model, groups[0]['lr'])
    results = [group_comparison(model, wrapper, groups, names_of_groups(groups))]
    for group in groups:
        members = [
            parameter
            for own in wrapper.optimizer.param_groups
            if own['weight_decay'] == group['weight_decay']
            for parameter in own['params']
        ]
        counts = [len(members), sum(parameter.numel() for parameter in members)]
        expected = [group['n_tensors'], group['n_values']]
        results.append(close(f'{name} decay {group["weight_decay"]}', counts, expected, 0.0))
    return results


def check_drop_path(name: str, model: nn.Module, rates: list[tuple[str, float]]) -> Comparison:
    """Compare the drop-path rates, and that there is no drop-path that the reference lacks."""
    found = {}
    for own_name, module in model.named_modules():
        if type(module).__name__ == 'DropPath' and module.drop_prob > 0:
            found.setdefault(re.sub(r'\.(attn\.out_drop|ffn\.dropout_layer)$', '', own_name), []).append(
                module.drop_prob
            )
    expected = {
        re.sub(r'^backbone\.blocks', 'backbone.layers', f'backbone.{module}').removesuffix('.drop_path'): rate
        for module, rate in rates
    }
    if set(found) != set(expected):
        return Comparison(f'{name} (modules {sorted(set(found) ^ set(expected))})', float('inf'), 0.0)
    # Each layer has one drop-path for each of its two branches.
    pairs = [found[module] for module in expected]
    return close(name, pairs, [[rate, rate] for rate in expected.values()], 1e-9)
