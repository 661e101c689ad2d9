"""Building, loading and running the library for a case."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from wsol_mm.models.weights import convert_state_dict, official_methods
from wsol_mm.models.weights.layouts import Layout, find_layout
from wsol_mm.registry import DATA_SAMPLERS, MODELS, PARAM_SCHEDULERS, TRANSFORMS

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmpretrain.structures import DataSample
from numpy.typing import NDArray
from torch import Tensor, nn

from .case import Case
from .comparison import Comparison

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence MMEngine's report of every parameter's options."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(previous)


# -------------------------------------------------------------------- models


def build_model(case: Case, head: dict, backbone: str = 'TokenVisionTransformer') -> nn.Module:
    """Return the model of a case with initial weights: the architecture of its weights and this head."""
    found = case.architecture
    width = found['embed_dim']
    common = {key: found[key] for key in ('patch_size', 'qkv_bias', 'drop_rate', 'attn_drop_rate')}
    common |= {key: found[key] for key in ('drop_path_rate', 'qk_scale')}
    arch = dict(embed_dims=width, num_heads=found['num_heads'])
    if case.is_hybrid:
        if case.get('base_channel', 64) != 64 or case.get('num_med_block', 0):
            accepted = 'base_channel 64 and num_med_block 0'
            raise case.error('base_channel, num_med_block', case.meta.get('model_args'), accepted)
        ratio = found['channel_ratio']
        arch |= dict(depths=found['depth'], channel_ratio=int(ratio) if ratio % 1 == 0 else ratio)
        settings = dict(type='TokenConformer', arch=arch, mlp_ratio=found['mlp_ratio'], **common)
        head = dict(head, conv_channels=case.shapes['conv_cls_head.weight'][1], conv_init='kaiming')
    else:
        hidden = round(width * found['mlp_ratio'])
        arch |= dict(num_layers=found['depth'], feedforward_channels=hidden)
        norm = dict(type='LN', eps=found['norm_eps'])
        settings = dict(type=backbone, arch=arch, img_size=case.image_sides, norm_cfg=norm, **common)
    head = dict(head, num_classes=case.num_classes, in_channels=width)
    return MODELS.build(dict(type='ImageLocalizer', backbone=settings, head=head))


def load(model: nn.Module, method: str, case: Case, **missing: Tensor) -> nn.Module:
    """Fill a model with the weights of a case, through the converter.

    Args:
        model: The model.
        method: Its method, as the converter calls it.
        case: The case.
        **missing: Entries that a recipe does not fill.
    """
    state = {name: missing[name] for name in case.not_filled if name in missing} | case.state()
    with quiet():
        model.load_state_dict(convert_state_dict(method, state, case.name), strict=True)
    return model


def layout_of(method: str, names: Iterable[str] = ()) -> Layout:
    """Return the converter's table for official names; the method's first if they are those of a part."""
    layouts = official_methods()[method].layouts
    return find_layout(names, layouts) or layouts[0]


def our_names(method: str, official: Iterable[str], known: Iterable[str] = ()) -> dict[str, str]:
    """Return official names to names here, by the table of the converter.

    A name here that ends in a number in brackets is a part of an entry.

    Args:
        method: As the converter calls it.
        official: The names.
        known: Names of a whole checkpoint, which tell the architecture; ``official`` if there are none.

    Raises:
        ValueError: If the converter does not know a name.
    """
    official = list(official)
    layout = layout_of(method, list(known) or official)
    names = {name: layout.rename(name) for name in official}
    unknown = [name for name, ours in names.items() if ours is None]
    if unknown:
        raise ValueError(f'weights: expected names of {layout.name}, got {", ".join(unknown)}')
    return names


def official_values(
    method: str, case: Case, prefix: str, values: Iterable[tuple[str, Any]]
) -> dict[str, Any]:
    """Return tensors here, given with their names, under ``prefix`` and the names of the case's weights."""
    theirs = {ours: name for name, ours in our_names(method, case.shapes).items()}
    return {
        prefix + theirs[name]: value.detach().clone()
        for name, value in values
        if name in theirs and value is not None
    }


def gradients(method: str, case: Case, model: nn.Module) -> dict[str, Tensor]:
    """Return all gradients of a model by the names of the arrays."""
    named = ((name, parameter.grad) for name, parameter in model.named_parameters())
    return official_values(method, case, 'grad/', named)


@contextlib.contextmanager
def recorded(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Any]]:
    """Record what the modules return; their hooks are removed at the end, also after an error."""
    records: dict[str, Any] = {}

    def hook_for(name: str) -> Callable:
        def hook(module: nn.Module, inputs: tuple, output: Any) -> None:
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
def recorded_calls(methods: Mapping[str, tuple[object, str]]) -> Iterator[dict[str, tuple[tuple, Any]]]:
    """Record positional arguments and result of the last call of methods, given as object and name."""
    records: dict[str, tuple[tuple, Any]] = {}

    def recording(key: str, function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            records[key] = (args, result)
            return result

        return call

    with contextlib.ExitStack() as stack:
        for key, (owner, name) in methods.items():
            stack.enter_context(mock.patch.object(owner, name, recording(key, getattr(owner, name))))
        yield records


def samples_of(labels: Tensor) -> list[DataSample]:
    """Return one data sample per label."""
    return [DataSample().set_gt_label(int(label)) for label in labels]


def prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values under names with a prefix."""
    return {prefix + name: value for name, value in values.items()}


# -------------------------------------------------------------------- recipes


def groups_of(case: Case) -> list[dict]:
    """Return the optimizer's groups of a case, names of parameters under ``params``; empty if it has none."""
    optimizer = case.meta.get('optimizer')
    places = [case.meta, optimizer if isinstance(optimizer, Mapping) else {}]
    for key in ('optimizer_groups', 'param_groups', 'groups'):
        for place in places:
            if isinstance(place.get(key), list):
                return [{**group, 'params': group.get('params', group.get('names'))} for group in place[key]]
    return []


def build_optimizer(model: nn.Module, config: Path | Config, lr: float) -> OptimWrapper:
    """Return the optimizer of a config with another learning rate."""
    cfg = config if isinstance(config, Config) else Config.fromfile(config)
    settings = cfg.optim_wrapper
    settings.optimizer.lr = lr
    with quiet():
        return build_optim_wrapper(model, settings)


def compare_groups(
    model: nn.Module, wrapper: OptimWrapper, groups: Sequence[Mapping], renamed: Mapping[str, str]
) -> Comparison:
    """Count the parameters whose settings differ from the reference's groups."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}

    def settings(group: Mapping) -> list:
        values = map(group.get, ('weight_decay', 'lr', 'betas', 'eps'))
        return [list(value) if isinstance(value, tuple | list) else value for value in values]

    found = {
        names[id(parameter)]: settings(group)
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    expected = {renamed[name]: settings(group) for group in groups for name in group['params']}
    wrong = {name for name in {*found, *expected} if found.get(name) != expected.get(name)}
    return Comparison('optimizer groups', float(len(wrong)), 0.0)


def rates_of(schedulers: Sequence[Mapping], lr: float, epochs: int) -> NDArray:
    """Return the learning rate of every epoch under the schedulers of a config."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    built = [PARAM_SCHEDULERS.build({**settings, 'optimizer': optimizer}) for settings in schedulers]
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in built:
            scheduler.step()
    return np.array(rates)


# -------------------------------------------------------------------- data


def network_inputs(cfg: Config, image: NDArray) -> tuple[NDArray, DataSample]:
    """Return what a config's test pipeline and preprocessor make of an RGB image (H, W, 3), uint8.

    Returns:
        The network input (3, h, w), and the sample with its geometry.
    """
    return _transformed(image, cfg.test_dataloader.dataset.pipeline[1:], cfg.data_preprocessor)


def _transformed(
    image: NDArray, steps: Sequence[Mapping], preprocessor: Mapping
) -> tuple[NDArray, DataSample]:
    shape = image.shape[:2]
    # Images are BGR after loading.
    packed = Compose([TRANSFORMS.build(step) for step in steps])(
        dict(img=image[..., ::-1].copy(), img_shape=shape, ori_shape=shape)
    )
    data = dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
    inputs = MODELS.build(preprocessor)(data)['inputs']
    return torch.as_tensor(inputs)[0].numpy(), packed['data_samples']


def sampled_indices(settings: Mapping, images: int, rank: int, world: int, epoch: int) -> tuple[list, int]:
    """Return the indices that one of several processes draws in an epoch, and the length of its sampler."""
    target = 'mmpretrain.datasets.samplers.repeat_aug.get_dist_info'
    with mock.patch(target, return_value=(rank, world)), quiet():
        sampler = DATA_SAMPLERS.build({**settings, 'dataset': range(images)})
    sampler.set_epoch(epoch)
    return list(sampler), len(sampler)


def squashed(image: NDArray, side: int) -> NDArray:
    """Return an RGB image resized to a square and normalised, as the test pipelines of the configs do."""
    steps = [
        dict(type='mmcv.Resize', scale=(side, side), backend='pillow'),
        dict(type='PackLocalizationInputs'),
    ]
    statistics = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
    return _transformed(image, steps, dict(type='mmpretrain.ClsDataPreprocessor', to_rgb=True, **statistics))[
        0
    ]
