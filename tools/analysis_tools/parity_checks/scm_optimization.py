"""Cases of the scm recipe: optimizer groups, three optimizer steps, learning rate per epoch."""

from collections.abc import Mapping
from pathlib import Path

from wsol_mm.models.weights import OFFICIAL_METHODS
from wsol_mm.models.weights.layouts import find_layout
from wsol_mm.registry import PARAM_SCHEDULERS

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import nn

from . import Case, Comparison, close, register
from .model_runs import quiet, samples_of
from .reference_weights import reference_images, reference_state
from .scm_models import build_model, load_model, official_names

CONFIGS = Path(__file__).resolve().parents[3] / 'configs' / 'scm'
# The config whose learning rates a list of the reference describes, by its first words.
_SCHEDULES = {
    'CUB deit_scm_small': 'scm_deit-s_cub.py',
    'ILSVRC deit_scm_small': 'scm_deit-s_ilsvrc.py',
    'ILSVRC deit_scm_base': 'scm_deit-b_ilsvrc.py',
}
_TOLERANCE = 1e-8


@register('scm', lambda case: 'param_groups' in case.meta)
def check_recipe(case: Case) -> list[Comparison]:
    """Compare the groups, the losses and weights of the steps, and all lists of learning rates."""
    meta = case.meta
    state = reference_state(case)
    model = load_model(build_model(meta), state, case.name).double()
    results = [check_rates(name, rates) for name, rates in meta['lr_per_epoch'].items()]
    wrapper = build_optimizer(model, meta['optimizer'])
    results.append(compare_groups(model, wrapper, meta['param_groups']))
    names = official_names(model, state)
    images, labels = reference_images(case).double(), torch.from_numpy(case.arrays['in/label'])
    found, losses = {}, []
    model.train()
    for step in range(1, len(case.arrays['out64/losses']) + 1):
        loss = model(images, samples_of(labels), mode='loss')['loss']
        losses.append(loss.item())
        wrapper.update_params(loss)
        for name, parameter in model.named_parameters():
            found[f'out64/step{step}/{names[name]}'] = parameter.detach().numpy().copy()
    found['out64/losses'] = np.array(losses)
    for name in sorted({*case.arrays, *meta['arrays']}):
        if name.startswith('out64/'):
            if name not in found or name not in case.arrays:
                results.append(Comparison(f'{name} (not checked)', float('inf'), 0.0))
            else:
                results.append(close(name, found[name], case.arrays[name], _TOLERANCE))
    return results


def build_optimizer(model: nn.Module, expected: Mapping) -> OptimWrapper:
    """Return the optimizer of the CUB configs with another learning rate."""
    settings = Config.fromfile(CONFIGS / 'scm_deit-s_cub.py').optim_wrapper
    settings.optimizer.lr = expected['lr']
    with quiet():
        return build_optim_wrapper(model, settings)


def compare_groups(model: nn.Module, wrapper: OptimWrapper, groups: list[Mapping]) -> Comparison:
    """Count the parameters whose optimizer settings differ from the reference's."""
    keys = ('weight_decay', 'lr', 'betas', 'eps')

    def settings(group: Mapping) -> list:
        return [list(value) if isinstance(value, tuple | list) else value for value in map(group.get, keys)]

    own_names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        own_names[id(parameter)]: settings(group)
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    listed = [name for group in groups for name in group['names']]
    layout = find_layout(listed, OFFICIAL_METHODS['scm'].layouts)
    expected = {layout.rename(name): settings(group) for group in groups for name in group['names']}
    wrong = {name for name in {*found, *expected} if found.get(name) != expected.get(name)}
    return Comparison('optimizer groups', float(len(wrong)), 0.0)


def check_rates(name: str, expected: list[float]) -> Comparison:
    """Run the scheduler of the config that a list of learning rates belongs to."""
    config = next((file for words, file in _SCHEDULES.items() if name.startswith(words)), None)
    if config is None:
        return Comparison(f'{name} (no config of this name)', float('inf'), 0.0)
    cfg = Config.fromfile(CONFIGS / config)
    if cfg.train_cfg.max_epochs != len(expected):
        return Comparison(f'{name} ({cfg.train_cfg.max_epochs} epochs)', float('inf'), 0.0)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [
        PARAM_SCHEDULERS.build({**settings, 'optimizer': optimizer}) for settings in cfg.param_scheduler
    ]
    rates = []
    for _ in expected:
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return close(name, np.array(rates) / expected, np.ones(len(expected)), 1e-12)
