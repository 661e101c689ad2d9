"""Cases of LCTR's modules alone: attention with RPAM, an encoder layer, and the CDM."""

from collections.abc import Mapping

from wsol_mm.models.layers import CueDigging, TokenAttention, TokenEncoderLayer
from wsol_mm.models.weights import OFFICIAL_METHODS
from wsol_mm.models.weights.layouts import Layout

import numpy as np
import torch
from torch import Tensor, nn

from . import Case, Comparison, register
from .lctr_models import ATOL, GRADIENT_RTOL, worst_of


@register('lctr', lambda case: any(name.startswith('c0/state/') for name in case.arrays))
def check_modules(case: Case) -> list[Comparison]:
    """Compare outputs and gradients of every configuration of a case."""
    rtol = float(case.meta['tolerance']['rtol'])
    results = []
    for index, config in enumerate(case.meta['configs']):
        prefix = f'c{index}/'
        arrays = {
            name.removeprefix(prefix): case.arrays[name] for name in case.arrays if name.startswith(prefix)
        }
        found = (run_cdm if 'num_experts' in config else run_attention)(config, arrays)
        for name, expected in arrays.items():
            if name.startswith(('in/', 'state/')):
                continue
            tolerance = ATOL + rtol * np.abs(expected)
            if name.startswith('grad/'):
                tolerance = np.full(expected.shape, GRADIENT_RTOL * np.abs(expected).max())
            results.append(worst_of(prefix + name, found.get(name), expected, tolerance))
    return results


def run_attention(config: Mapping, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Return outputs and gradients of an attention or of an encoder layer."""
    common = dict(embed_dims=config['dim'], num_heads=config['num_heads'], qkv_bias=config['qkv_bias'])
    if config['kind'] == 'Block':
        hidden = int(config['dim'] * config['mlp_ratio'])
        module = TokenEncoderLayer(
            feedforward_channels=hidden, norm_cfg=dict(type='LN', eps=1e-6), **common
        ).train()
        names = official_names(arrays, 'blocks.0.', 'backbone.layers.0.')
    else:
        module = TokenAttention(**common).train()
        names = official_names(arrays, 'blocks.0.attn.', 'backbone.layers.0.attn.')
    x, w1, w2, w3 = load_inputs(module, arrays, names, 'x', 'w1', 'w2', 'w3')
    y, maps = module(x, 'propagated')
    class_row = maps['attention'].mean(dim=1)[:, 1:]
    propagated = maps['propagated'][:, 1:].unflatten(1, w3.shape[-2:])[:, None]
    loss = (y * w1).sum() / y.numel() + 10 * (class_row * w2).sum() + 1000 * (propagated * w3).sum()
    loss.backward()
    with torch.no_grad():
        full = module(x, 'full')[1]['attention']
    outputs = {
        'y': y,
        'cls_attn': class_row,
        'rpam': propagated,
        'attn_mean_sample0': full[0].mean(dim=0),
        'loss': loss,
    }
    return {f'out/{name}': value for name, value in outputs.items()} | gradients(module, names, x=x)


def run_cdm(config: Mapping, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Return outputs and gradients of a cue digging module."""
    module = CueDigging(
        config['in_channels'], config['out_channels'], config['num_experts'], config['kernel_size']
    )
    names = official_names(arrays, 'CDM.', 'head.cdm.')
    x, cues, w = load_inputs(module, arrays, names, 'x', 'attn_x', 'w')
    routing = module.routing(cues)
    y = module(x, routing)
    loss = (y * w).sum() / y.numel()
    loss.backward()
    outputs = {'y': y, 'routing': routing, 'loss': loss}
    return {f'out/{name}': value for name, value in outputs.items()} | gradients(
        module, names, x=x, attn_x=cues
    )


def official_names(arrays: Mapping[str, np.ndarray], theirs: str, ours: str) -> dict[str, str]:
    """Return official names of a module's weights to names here, by the table of the converter.

    Args:
        arrays: Arrays of the configuration.
        theirs: Where the module is in an official checkpoint.
        ours: Where it is here.
    """
    layout: Layout = OFFICIAL_METHODS['lctr'].layouts[0]
    official = [name.removeprefix('state/') for name in arrays if name.startswith('state/')]
    return {name: layout.rename(theirs + name).removeprefix(ours) for name in official}


def load_inputs(
    module: nn.Module, arrays: Mapping[str, np.ndarray], names: Mapping[str, str], *inputs: str
) -> list[Tensor]:
    """Fill a module with the weights of a case, and return the inputs, which require gradients."""
    state = {ours: torch.from_numpy(arrays[f'state/{name}']) for name, ours in names.items()}
    module.load_state_dict(state, strict=True)
    return [torch.from_numpy(arrays[f'in/{name}']).requires_grad_() for name in inputs]


def gradients(module: nn.Module, names: Mapping[str, str], **inputs: Tensor) -> dict[str, Tensor]:
    """Return the gradients of weights and inputs under the names of the arrays."""
    parameters = dict(module.named_parameters())
    found = {f'grad/{name}': parameters[ours].grad for name, ours in names.items()}
    return found | {f'grad/in/{name}': value.grad for name, value in inputs.items()}
