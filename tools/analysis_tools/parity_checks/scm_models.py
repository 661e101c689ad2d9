"""Cases of the scm models: outputs, every calibration layer and gradients, in float32 and float64."""

import re
from collections.abc import Mapping
from pathlib import Path

from wsol_mm.models.layers import (
    GridGraph,
    SpatialCalibrationLayer,
    class_token_attention,
    graph_diffusion,
    grid_graph,
    grid_laplacian,
    neighbour_similarity,
)
from wsol_mm.models.weights import OFFICIAL_METHODS, convert_state_dict
from wsol_mm.models.weights.layouts import find_layout
from wsol_mm.registry import MODELS
from wsol_mm.structures import TokenFeatures

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from . import Case, Comparison, register
from .model_runs import quiet, recorded, samples_of
from .reference_weights import reference_images, reference_state

VIT_SMALL = Path(__file__).resolve().parents[3] / 'configs' / 'scm' / 'scm_vit-s_cub.py'

# Shares of the largest value: of a float64 run, and of its thresholds' gradients, which nearly cancel.
_DOUBLE, _DOUBLE_THRESHOLD = 1e-8, 1e-7
# Of gradients in float32.
_SINGLE_GRADIENT = 2e-3


@register('scm', lambda case: case.meta.get('mode') in ('train', 'eval') and 'args' in case.meta)
def check_model(case: Case) -> list[Comparison]:
    """Compare every listed array, in the precision that it is given in."""
    run = run_train if case.meta['mode'] == 'train' else run_eval
    found: dict[str, Tensor] = {}
    for dtype, outputs, gradients in ((torch.float32, 'out', 'grad'), (torch.float64, 'out64', 'grad64')):
        model = load_model(build_model(case.meta), reference_state(case), case.name).to(dtype)
        images = reference_images(case).to(dtype)
        arrays = run(model, images, torch.from_numpy(case.arrays['in/label']))
        names = official_names(model, reference_state(case))
        for name, value in arrays.items():
            kind, _, rest = name.partition('/')
            if kind == 'out':
                found[f'{outputs}/{rest}'] = value
            elif kind == 'grad' and rest in names:
                found[f'{gradients}/{names[rest]}'] = value
            elif kind == 'state_after' and rest in names and dtype == torch.float32:
                found[f'state_after/{names[rest]}'] = value
    return compare_all(case, found)


@register('scm', lambda case: 'recipe' in case.meta)
def check_drawn_weights(case: Case) -> list[Comparison]:
    """ViT-S with drawn weights, as its config builds it: test outputs."""
    state, images = reference_state(case), reference_images(case)
    found: dict[str, Tensor] = {}
    for dtype, outputs in ((torch.float32, 'out'), (torch.float64, 'out64')):
        model = load_model(build_vit_small(case.meta['num_classes']), state, case.name).to(dtype)
        arrays = run_eval(model, images.to(dtype), torch.zeros(len(images), dtype=torch.int64))
        found |= {name.replace('out', outputs, 1): value for name, value in arrays.items()}
    return compare_all(case, found)


@register('scm', lambda case: 'cases' in case.meta)
def check_layer(case: Case) -> list[Comparison]:
    """The calibration layer alone, with its gradients, and the Laplacians."""
    found: dict[str, Tensor] = {}
    for prefix, settings in case.meta['cases'].items():
        for dtype, outputs, gradients in ((torch.float32, 'out', 'grad'), (torch.float64, 'out64', 'grad64')):
            arrays = run_layer(case, prefix, settings, dtype)
            kinds = {'out': outputs, 'grad': gradients}
            for name, value in arrays.items():
                kind, _, rest = name.partition('/')
                found[f'{kinds[kind]}/{prefix}{rest}'] = value
    for name in case.arrays:
        if name.startswith('out/laplacian_'):
            found[name] = laplacian_of(name)
    return compare_all(case, found)


def build_model(meta: Mapping) -> nn.Module:
    """Return the model of a case, with initial weights."""
    args = meta['args']
    width = args['embed_dim']
    common = {key: args[key] for key in ('patch_size', 'qkv_bias', 'qk_scale') if key in args}
    head = dict(num_classes=args['num_classes'], in_channels=width, iterations=meta['scm']['iterations'])
    if 'channel_ratio' in args:
        arch = dict(
            embed_dims=width,
            depths=args['depth'],
            num_heads=args['num_heads'],
            channel_ratio=args['channel_ratio'],
        )
        backbone = dict(type='TokenConformer', arch=arch, mlp_ratio=args['mlp_ratio'], **common)
        head |= dict(conv_channels=int(256 * args['channel_ratio']), conv_init='kaiming')
    else:
        arch = dict(
            embed_dims=width,
            num_layers=args['depth'],
            num_heads=args['num_heads'],
            feedforward_channels=int(width * args['mlp_ratio']),
        )
        eps = re.search(r'eps=([\d.e-]+)', args.get('norm_layer', 'eps=1e-6'))
        norm = dict(type='LN', eps=float(eps[1]))
        backbone = dict(
            type='TokenVisionTransformer', arch=arch, img_size=args['img_size'], norm_cfg=norm, **common
        )
    return MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=dict(type='SCMHead', **head)))


def build_vit_small(num_classes: int) -> nn.Module:
    """Return the model of the ViT-S configs with another number of classes."""
    settings = Config.fromfile(VIT_SMALL).model
    settings.head.num_classes = num_classes
    return MODELS.build({**settings, 'pretrained': None})


def load_model(model: nn.Module, state: Mapping[str, Tensor], source: str) -> nn.Module:
    """Fill a model with official weights, through the converter."""
    with quiet():
        model.load_state_dict(convert_state_dict('scm', state, source), strict=True)
    return model


def official_names(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return names of parameters and buffers here to official names."""
    layout = find_layout(state, OFFICIAL_METHODS['scm'].layouts)
    names = {layout.rename(name): name for name in state}
    return {name: names[name] for name in model.state_dict()}


def run_train(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return outputs, intermediates, gradients and buffers of one training step without optimizer."""
    model.train()
    head = model.head
    with recorded({'backbone': model.backbone}) as seen:
        loss = model(images, samples_of(labels), mode='loss')['loss']
    loss.backward()
    feats = seen['backbone']
    with torch.no_grad():
        arrays = {'logits': head.calibrated_logits(feats), 'loss': loss}
        arrays |= token_arrays(feats) | conv_arrays(head, feats)
        maps, attention = head.semantic_conv(feats.patch_map), head.attention_map(feats)
        arrays |= {'S0': maps, 'F0': attention.flatten(1)}
        for number, layer in enumerate(head.calibration.layers):
            details, maps, attention = layer_arrays(layer, maps, attention, matrices=number < 2)
            arrays |= {f'layer{number}/{name}': value for name, value in details.items()}
    found = {f'out/{name}': value for name, value in arrays.items()}
    found |= {f'grad/{name}': value.grad for name, value in model.named_parameters()}
    return found | {f'state_after/{name}': value.clone() for name, value in model.named_buffers()}


def run_eval(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return all test outputs and intermediates."""
    model.eval()
    head = model.head
    with torch.no_grad():
        feats = model.extract_feat(images, head.predict_attention)
        every = torch.arange(head.num_classes).expand(len(images), -1)
        maps, attention = head.semantic_conv(feats.patch_map), head.attention_map(feats)
        arrays = {
            'logits': head(feats),
            'final_map': head.localization_maps(feats, every),
            'S0': maps,
            'F0': attention[:, None],
            **token_arrays(feats),
            **conv_arrays(head, feats),
        }
        if head.calibrate_test_logits:
            for number, layer in enumerate(head.calibration.layers):
                maps, attention = layer(maps, attention)
                arrays |= {f'layer{number}/S': maps, f'layer{number}/F': attention.flatten(1)}
    return {f'out/{name}': value for name, value in arrays.items()}


def token_arrays(feats: TokenFeatures) -> dict[str, Tensor]:
    """Return tokens and attention under the names of the arrays."""
    rows = class_token_attention(feats).flatten(2)
    patches = feats.patch_map.flatten(2).transpose(1, 2)
    return {
        'tokens': torch.cat((feats.cls_token[:, None], patches), dim=1),
        'attn_cls_rows': rows.transpose(0, 1),
        'F_raw': rows.sum(dim=1),
    }


def conv_arrays(head: nn.Module, feats: TokenFeatures) -> dict[str, Tensor]:
    """Return the logits of the convolutional branch, if there is one."""
    if head.conv_fc is None:
        return {}
    return {'conv_logits': head.conv_fc(feats.conv_map.mean(dim=(2, 3)))}


def layer_arrays(
    layer: nn.Module, maps: Tensor, attention: Tensor, matrices: bool
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Return a layer's intermediates and outputs, and both outputs again as its successor's inputs."""
    graph = grid_graph(*maps.shape[-2:])
    similarity, values = neighbour_similarity(maps, graph), attention.flatten(1)
    diffused = layer.diffuse(similarity, values, graph)
    new_maps, new_attention = layer(maps, attention)
    arrays = {
        'diffused': diffused,
        'shrunk': layer.shrink(diffused, values),
        'A': layer.calibration(similarity, values, graph),
        'S': new_maps,
        'F': new_attention.flatten(1),
    }
    if matrices:
        arrays |= {
            'sim_b0': all_similarities(maps, similarity, graph),
            'inv_b0': inverse_of(layer, similarity[:1], graph),
        }
    return arrays, new_maps, new_attention


def all_similarities(maps: Tensor, similarity: Tensor, graph: GridGraph) -> Tensor:
    """Return the similarities of all pairs of the first image; on the edges those that the layer used."""
    unit = nn.functional.normalize(maps[0].flatten(1), dim=0)
    every = unit.T @ unit
    first, second = graph.edges
    every[first, second] = every[second, first] = similarity[0]
    return every


def inverse_of(layer: nn.Module, similarity: Tensor, graph: GridGraph) -> Tensor:
    """Return the transposed approximate inverse, (N, N): what the diffusion makes of unit vectors."""
    scale = layer.similarity_scale.to(similarity.dtype)
    unit = torch.eye(graph.nodes, dtype=similarity.dtype)[None]
    diagonal = graph.degrees.to(similarity.dtype) * (scale - 1)
    values = 1 - scale * similarity
    return graph_diffusion(values, diagonal, unit, graph, layer.iterations, layer.alpha)[0]


def run_layer(case: Case, prefix: str, settings: Mapping, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return outputs and gradients of one layer alone."""
    inputs = {
        name: torch.from_numpy(case.arrays[f'in/{prefix}{name}']).to(dtype)
        for name in ('x', 'cam', 'wS', 'wF')
    }
    layer = SpatialCalibrationLayer(settings['iteration'])
    with torch.no_grad():
        layer.threshold.fill_(settings['thred'])
        layer.similarity_scale.fill_(settings['loss_rate'])
    layer.to(dtype)
    x, cam = inputs['x'].requires_grad_(), inputs['cam'].requires_grad_()
    height, width = x.shape[-2:]
    maps, attention = layer(x, cam.unflatten(1, (height, width)))
    loss = (maps * inputs['wS']).sum() + (attention.flatten(1) * inputs['wF']).sum()
    loss.backward()
    graph = grid_graph(height, width)
    with torch.no_grad():
        similarity = neighbour_similarity(x, graph)
        found = {
            'out/S': maps,
            'out/F': attention.flatten(1),
            'out/loss': loss,
            'out/diffused': layer.diffuse(similarity, cam, graph),
            'out/sim_b0': all_similarities(x, similarity, graph),
            'out/inv_b0': inverse_of(layer, similarity[:1], graph),
        }
    return found | {
        'grad/x': x.grad,
        'grad/cam': cam.grad,
        'grad/thred': layer.threshold.grad,
        'grad/_loss_rate': layer.similarity_scale.grad,
    }


def laplacian_of(name: str) -> Tensor:
    """Return the Laplacian that an array's name describes: HxW, dilation, connectivity."""
    height, width, dilation, connect = re.fullmatch(
        r'out/laplacian_(\d+)x(\d+)(?:_dil(\d+)_conn(\d+))?', name
    ).groups()
    graph = grid_graph(int(height), int(width), 'cpu', int(connect or 4), int(dilation or 1))
    return grid_laplacian(graph).to(torch.int8)


def compare_all(case: Case, found: Mapping[str, Tensor]) -> list[Comparison]:
    """Compare all arrays of a case; what is listed and not computed is a failure."""
    results = []
    for name in sorted({*case.arrays, *case.meta['arrays']}):
        if name.startswith(('state/', 'in/')):
            continue
        if name not in case.arrays:
            results.append(Comparison(f'{name} (listed, but not in the npz)', float('inf'), 0.0))
        elif name not in found:
            results.append(Comparison(f'{name} (not checked)', float('inf'), 0.0))
        elif (share := tolerance_of(case.meta, name)) is not None:
            results.append(_relative(name, found[name], case.arrays[name], share))
    return results


def tolerance_of(meta: Mapping, name: str) -> float | None:
    """Return the allowed share of the largest value; None where a comparison would mean nothing.

    float64 arrays agree to rounding. In float32 the reference itself is off by what the case lists, so
    that counts four times where it is more than the case's tolerance (ten times with drawn weights, as
    that case asks). float32 has no correct digit in the gradients of the thresholds (the case says so).
    """
    kind, _, rest = name.partition('/')
    threshold = name.endswith('thred')
    if kind in ('out64', 'grad64'):
        return _DOUBLE_THRESHOLD if threshold else _DOUBLE
    if kind == 'grad':
        return None if threshold else _SINGLE_GRADIENT
    if rest.startswith('laplacian_'):
        return 0.0
    if 'cases' in meta:
        prefix, _, quantity = rest.partition('/')
        own = meta['cases'][f'{prefix}/']['relative_f32_vs_f64']
        # The loss is a sum in which much cancels.
        return 4 * own[quantity] if quantity in own else 1e-4
    limits = [float(limit) for limit in re.findall(r'([\d.]+e-\d+)\*max', meta['tolerance'])] or [1e-5]
    calibrated = rest.startswith('layer') or rest in ('logits', 'loss')
    limit = limits[min(1, len(limits) - 1)] if calibrated else limits[0]
    listed = meta['f32_vs_f64'].get(rest)
    if listed is None:
        return limit
    times = 10 if 'recipe' in meta else 4
    return max(limit, times * listed['max_abs_f32_minus_f64'] / listed['max_abs_value'])


def _relative(name: str, found: Tensor, expected: np.ndarray, share: float) -> Comparison:
    """Compare with a tolerance that is a share of the largest value."""
    value = found.detach().numpy()
    if value.shape != expected.shape:
        return Comparison(f'{name} (shape {value.shape} for {expected.shape})', float('inf'), share)
    error = np.abs(value.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0)
    return Comparison(name, float(error), share * float(np.abs(expected).max(initial=0.0)))
