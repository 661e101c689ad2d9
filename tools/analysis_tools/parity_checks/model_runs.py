"""Running a model for a check: recording what it computes, keeping quiet, comparing optimizer groups."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from unittest import mock

from wsol_mm.registry import MODELS, TRANSFORMS

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
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


@contextlib.contextmanager
def recorded_calls(methods: Mapping[str, tuple[object, str]]) -> Iterator[dict[str, tuple[tuple, object]]]:
    """Record positional arguments and result of the last call of methods, given as object and name."""
    records: dict[str, tuple[tuple, object]] = {}

    def recording(key, function):
        def call(*args, **kwargs):
            result = function(*args, **kwargs)
            records[key] = (args, result)
            return result

        return call

    with contextlib.ExitStack() as stack:
        for key, (owner, name) in methods.items():
            stack.enter_context(mock.patch.object(owner, name, recording(key, getattr(owner, name))))
        yield records


def test_inputs(cfg: Config, image: np.ndarray) -> tuple[np.ndarray, DataSample]:
    """Return what a config's test pipeline and preprocessor make of an RGB image (H, W, 3), uint8.

    Returns:
        tuple[np.ndarray, DataSample]: The network input (3, h, w), and the sample with its geometry.
    """
    pipeline = Compose([TRANSFORMS.build(step) for step in cfg.test_dataloader.dataset.pipeline[1:]])
    shape = image.shape[:2]
    # Images are BGR after loading.
    packed = pipeline(dict(img=image[..., ::-1].copy(), img_shape=shape, ori_shape=shape))
    preprocessor = MODELS.build(cfg.data_preprocessor)
    data = dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
    return torch.as_tensor(preprocessor(data)['inputs'])[0].numpy(), packed['data_samples']


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
