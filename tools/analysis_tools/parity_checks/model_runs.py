"""Running a model for a check: recording modules, keeping quiet, comparing optimizer groups."""

import contextlib
import logging
from collections.abc import Iterator, Mapping

from mmengine.optim import OptimWrapper
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from . import Comparison


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence MMEngine's report of every parameter's options."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(previous)


@contextlib.contextmanager
def recorded(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor | tuple]]:
    """Record what the modules return; their hooks are removed at the end, also after an error."""
    records: dict[str, Tensor | tuple] = {}

    def hook_for(name):
        def hook(module, inputs, output):
            records[name] = output
            records[f'{name} input'] = inputs[0]

        return hook

    handles = [module.register_forward_hook(hook_for(name)) for name, module in modules.items()]
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()


def samples_of(labels: Tensor) -> list[DataSample]:
    """Return one data sample per label."""
    return [DataSample().set_gt_label(int(label)) for label in labels]


def group_comparison(
    model: nn.Module, wrapper: OptimWrapper, groups: list[Mapping], renamed: Mapping[str, str]
) -> Comparison:
    """Count the parameters whose settings differ from the reference's groups."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    keys = ('weight_decay', 'lr', 'betas', 'eps')

    def settings(group):
        return [list(value) if isinstance(value, tuple | list) else value for value in map(group.get, keys)]

    found = {
        names[id(parameter)]: settings(group)
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    expected = {renamed[name]: settings(group) for group in groups for name in group['params']}
    wrong = {name for name in {*found, *expected} if found.get(name) != expected.get(name)}
    return Comparison('optimizer groups', float(len(wrong)), 0.0)
