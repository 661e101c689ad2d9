"""Cases of SAT's models: outputs, intermediates, gradients, modules alone, losses, optimizer steps."""

import re
from collections.abc import Mapping
from pathlib import Path

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.map_boxes import score_map
from wsol_mm.models.layers import SpatialQueryAttention, fused_spatial_mask, gaussian_kernel
from wsol_mm.models.weights import OFFICIAL_METHODS, convert_state_dict
from wsol_mm.models.weights.layouts import find_layout
from wsol_mm.registry import MODELS
from wsol_mm.structures import TokenFeatures

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from . import Case, Comparison, close, register
from .model_runs import group_comparison, quiet, recorded, samples_of
from .reference_weights import reference_images, reference_state

SCHEDULE = Path(__file__).resolve().parents[3] / 'configs' / 'sat' / '_base_' / 'schedule_30e.py'

Found = dict[str, Tensor | np.ndarray]


@register('sat', lambda case: case.meta.get('official_class') == 'SAT' and 'optimizer' not in case.meta)
def check_model(case: Case) -> list[Comparison]:
    """Compare every output, intermediate and gradient of a model."""
    model = build_model(case.meta)
    with quiet():
        model.load_state_dict(official_state(case), strict=True)
    images, labels = reference_images(case), torch.from_numpy(case.arrays['in/label'])
    found = run_train(model, images, labels)
    found |= {f'grad/{name}': gradient for name, gradient in gradients_of(model).items()}
    found |= run_eval(model, images, case)
    return compare_all(case, found)


@register('sat', lambda case: case.meta.get('official_class') == 'SAT' and 'optimizer' in case.meta)
def check_optimizer(case: Case) -> list[Comparison]:
    """Compare parameter groups, and losses and weights over some steps."""
    start = Case.load(case.folder / case.meta['state_from'].split()[0])
    model = build_model(case.meta)
    groups = case.meta['optimizer']['groups']
    with quiet():
        model.load_state_dict(official_state(start), strict=True)
        settings = Config.fromfile(SCHEDULE).optim_wrapper
        settings.optimizer.lr = groups[0]['lr']
        wrapper = build_optim_wrapper(model, settings)
    renamed = our_names([name for group in groups for name in group['params']])
    results = [group_comparison(model, wrapper, groups, renamed)]
    model.train()
    steps = []
    for images, labels in zip(case.arrays['in/images'], case.arrays['in/labels'], strict=True):
        batch = torch.from_numpy(images.astype(np.float32))
        losses = model(batch, samples_of(torch.from_numpy(labels)), mode='loss')
        parts = [losses['loss_cls'], losses['loss_area'], losses['loss_norm']]
        steps.append([value.item() for value in (sum(parts), *parts, losses['mean_area'])])
        wrapper.update_params(sum(parts))
    weights = model.state_dict()
    found: Found = {'out/step_losses': np.array(steps)}
    prefix = 'out/param_after/'
    names = [name.removeprefix(prefix) for name in case.arrays if name.startswith(prefix)]
    found |= {prefix + name: weights[ours] for name, ours in our_names(names, renamed).items()}
    return results + compare_all(case, found)


@register('sat', lambda case: case.meta.get('official_class') == 'Attention')
def check_attention(case: Case) -> list[Comparison]:
    """Compare the attention alone: plain below the masked layers, masked in them."""
    args, arrays = case.meta['model_args'], case.arrays
    if any(name.startswith('state/depth') for name in arrays):
        return [Comparison('state/depth (not checked)', float('inf'), 0.0)]
    found: Found = {}
    for prefix in sorted({name.split('/')[1] for name in arrays if name.startswith('out/')}):
        attention = SpatialQueryAttention(
            args['dim'], args['num_heads'], qkv_bias=args['qkv_bias'], masked=int(prefix[5:]) >= 9
        )
        attention.load_state_dict(reference_state(case), strict=True)
        x = torch.from_numpy(arrays['in/x']).requires_grad_()
        out, maps = attention(x)
        query, key, _ = attention.project_qkv(x)
        mask = maps.get('spatial_mask', attention.spatial_mask(query, key))
        loss = (out * torch.from_numpy(arrays['in/grad_out'])).sum()
        loss = loss + (mask[:, None, None] * torch.from_numpy(arrays['in/grad_mask'])).sum()
        loss.backward()
        found |= {f'out/{prefix}/out': out, f'out/{prefix}/mask': mask[:, None, None]}
        found[f'grad/{prefix}/x'] = x.grad
        for name, parameter in attention.named_parameters():
            found[f'grad/{prefix}/{name}'] = parameter.grad
    return compare_all(case, found)


@register('sat', lambda case: any(name.endswith('/masks_last3') for name in case.arrays))
def check_map_loss(case: Case) -> list[Comparison]:
    """Compare map, area loss and normalization loss on given masks, with gradients."""
    found: Found = {}
    area, norm = [MODELS.build(dict(type=kind)) for kind in ('BatchAreaLoss', 'NormalizationLoss')]
    kinds = [name.split('/')[1] for name in case.arrays if name.startswith('in/') and name.endswith('_last3')]
    for kind in kinds:
        masks = torch.from_numpy(case.arrays[f'in/{kind}/masks_last3']).requires_grad_()
        maps = fused_spatial_mask(features_with(masks))
        found[f'out/{kind}/fused_map'] = maps
        found[f'out/{kind}/area_per_sample'] = maps.mean(dim=(1, 2))
        smooth = norm.filter(maps)
        found[f'out/{kind}/filtered_map'] = smooth
        found[f'out/{kind}/norm_per_sample'] = torch.stack([norm(one[None]) for one in maps])
        for name in [name for name in case.arrays if name.startswith(f'out/{kind}/loss')]:
            setting = name.rpartition('/loss')[2].removeprefix('_')
            if setting:
                area.target_area = float(re.match(r'thr([\d.]+)', setting)[1])
                ranks = maps.chunk(2) if setting.endswith('_two_ranks') else [maps]
                loss = sum(area(part) for part in ranks) / len(ranks)
            else:
                loss = norm(maps)
            gradient = torch.autograd.grad(loss, masks, retain_graph=True)[0]
            found[name] = loss
            found['/'.join(filter(None, ('grad', kind, setting, 'masks_last3')))] = gradient
    return compare_all(case, found)


@register('sat', lambda case: 'in/patch_tokens' in case.arrays)
def check_classification_loss(case: Case) -> list[Comparison]:
    """Compare the head's convolution, logits and cross-entropy on given tokens."""
    state = reference_state(case)
    classes, width = state['head.weight'].shape[:2]
    head = MODELS.build(dict(type='SATHead', num_classes=classes, in_channels=width))
    renamed = our_names(list(state))
    missing = head.load_state_dict(
        {renamed[name].removeprefix('head.'): value for name, value in state.items()}, strict=False
    ).missing_keys
    unfilled = set(missing) - {'normalization_loss.filter.kernel'}
    plain = classification(head, case, torch.float32, pooled=False)
    exact = classification(head, case, torch.float64, pooled=False)
    results = compare_all(case, plain)
    for name, value in classification(head.float(), case, torch.float32, pooled=True).items():
        # A gradient that the reference sums over the whole map in float32 can be further from the truth
        # than its tolerance (2e-6 in head.bias); the pooled form is then held to the truth.
        tolerance = tolerance_of(case, name)
        rounding = np.abs(exact[name] - case.arrays[name]).max()
        truth = exact[name] if rounding > tolerance else case.arrays[name]
        results.append(close(f'pooled {name}', value, truth, tolerance))
    return [Comparison('unfilled entries', float(len(unfilled)), 0.0), *results]


def classification(head: nn.Module, case: Case, dtype: torch.dtype, pooled: bool) -> dict[str, np.ndarray]:
    """Return outputs and gradients of the classification alone, by class maps or by the head's shortcut."""
    head = head.to(dtype)
    head.zero_grad()
    tokens = torch.from_numpy(case.arrays['in/patch_tokens']).to(dtype).requires_grad_()
    feats = features_with(tokens.new_zeros(3, len(tokens), 2 + tokens.shape[1]), tokens)
    labels = torch.from_numpy(case.arrays['in/label'])
    class_map = head.semantic_conv(feats.patch_map)
    if pooled:
        logits = head(feats)
        loss = head.loss(feats, samples_of(labels))['loss_cls']
    else:
        logits = class_map.mean(dim=(2, 3))
        loss = nn.functional.cross_entropy(logits, labels)
    loss.backward()
    found = {'out/head_map': class_map, 'out/logits': logits, 'out/loss': loss}
    found['grad/patch_tokens'] = tokens.grad
    found |= {f'grad/head.{name}': value.grad for name, value in head.semantic_conv.named_parameters()}
    return {name: value.detach().numpy().copy() for name, value in found.items()}


@register('sat', lambda case: str(case.meta.get('official_function', '')).startswith('get_kernel'))
def check_kernel(case: Case) -> list[Comparison]:
    """Compare the smoothing kernels."""
    found: Found = {}
    for name in case.arrays:
        size, sigmas = re.fullmatch(r'out/kernel_k(\d+)_s([\d.]+)', name).groups()
        found[name] = gaussian_kernel(int(size), float(sigmas))
    return compare_all(case, found)


def build_model(meta: Mapping) -> nn.Module:
    """Return the model of a case, with initial weights."""
    args = meta['model_args']
    factory = re.fullmatch(r'deit_sat_(tiny|small|base)_patch16_224', args.get('factory', ''))
    if factory:
        backbone = dict(arch=f'deit-{factory[1]}')
        width = dict(tiny=192, small=384, base=768)[factory[1]]
    else:
        width = args['embed_dim']
        arch = dict(
            embed_dims=width,
            num_layers=args['depth'],
            num_heads=args['num_heads'],
            feedforward_channels=int(width * args['mlp_ratio']),
        )
        keys = ('img_size', 'patch_size', 'qkv_bias', 'drop_rate', 'attn_drop_rate', 'drop_path_rate')
        backbone = dict(arch=arch, **{key: args[key] for key in keys})
    head = dict(
        type='SATHead',
        num_classes=args['num_classes'],
        in_channels=width,
        area_loss=dict(target_area=meta['area_thr']),
    )
    backbone = dict(type='SpatialTokenTransformer', **backbone)
    return MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head))


def official_state(case: Case) -> dict[str, Tensor]:
    """Return the weights of a case, converted; a kernel that it leaves alone is that of the reference."""
    state = reference_state(case)
    if 'weight' in case.meta.get('not_filled', ()):
        state['weight'] = gaussian_kernel(3, 6).float()[None, None]
    return convert_state_dict('sat', state, case.name)


def our_names(official: list[str], known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return official names to names here, by the table of the converter."""
    layouts = OFFICIAL_METHODS['sat'].layouts
    layout = find_layout(known or official, layouts) or layouts[0]
    return {name: layout.rename(name) for name in official}


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    """Return all gradients under their official names."""
    layout = OFFICIAL_METHODS['sat'].layouts[0]
    depth = len(model.backbone.layers)
    inner = ('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1', 'mlp.fc2')
    modules = ['patch_embed.proj', 'norm', 'head']
    modules += [f'blocks.{index}.{name}' for index in range(depth) for name in inner]
    names = ['cls_token', 'loc_token', 'pos_embed', 'loc_embed']
    names += [f'{module}.{kind}' for module in modules for kind in ('weight', 'bias')]
    parameters = dict(model.named_parameters())
    theirs = {layout.rename(name): name for name in names}
    return {theirs[ours]: parameter.grad for ours, parameter in parameters.items()}


def features_with(masks: Tensor, tokens: Tensor | None = None) -> TokenFeatures:
    """Return features with masks (M, B, N) of the reference, and with patch tokens (B, h*w, D) or none."""
    side = round((masks.shape[-1] - 2) ** 0.5)
    if tokens is None:
        patches = masks.new_zeros(masks.shape[1], 1, side, side)
    else:
        patches = tokens.transpose(1, 2).unflatten(2, (side, side))
    return TokenFeatures(patches, patches[:, :, 0, 0], spatial_mask=masks.transpose(0, 1))


def block_masks(model: nn.Module, seen: Mapping[str, Tensor | tuple]) -> Tensor:
    """Return the mask of every block, (depth, B, N), also of those that do not use it."""
    masks = []
    for index, layer in enumerate(model.backbone.layers):
        query, key, _ = layer.attn.project_qkv(layer.ln1(seen[f'layer {index} input']))
        masks.append(layer.attn.spatial_mask(query, key))
    return torch.stack(masks)


def run_train(model: nn.Module, images: Tensor, labels: Tensor) -> Found:
    """Return outputs and losses of a training step; the gradients are in the model."""
    model.train()
    layers = {f'layer {index}': layer for index, layer in enumerate(model.backbone.layers)}
    watched = {'backbone': model.backbone, 'embed': model.backbone.patch_embed, 'norm': model.backbone.ln1}
    with recorded({**watched, **layers}) as seen:
        losses = model(images, samples_of(labels), mode='loss')
    total = losses['loss_cls'] + losses['loss_area'] + losses['loss_norm']
    total.backward()
    feats, head = seen['backbone'], model.head
    with torch.no_grad():
        maps = fused_spatial_mask(feats)
        found = {
            'logits': head(feats),
            'area_per_sample': maps.mean(dim=(1, 2)),
            'norm_per_sample': torch.stack([head.normalization_loss(one[None]) for one in maps]),
            'batch_area': losses['mean_area'],
            'loss_cls': losses['loss_cls'],
            'loss_area': losses['loss_area'],
            'loss_norm': losses['loss_norm'],
            'loss_total': total,
            'block_masks': block_masks(model, seen),
            'filtered_map': head.normalization_loss.filter(maps),
            'patch_embed': seen['embed'][0],
            'tokens_final': seen['norm'],
            'head_map': head.semantic_conv(feats.patch_map),
            'fused_map': maps,
        }
        for index in range(len(layers)):
            found[f'block{index}_out'] = seen[f'layer {index}'][0]
    return {f'out/{name}': value for name, value in found.items()}


def run_eval(model: nn.Module, images: Tensor, case: Case) -> Found:
    """Return the outputs of a prediction: they replace those of training, which must be the same."""
    model.eval()
    with torch.no_grad():
        samples = model(images, mode='predict')
        logits = model.head(model.extract_feat(images))
    maps = torch.cat([sample.loc_maps for sample in samples])
    found = {'out/logits': logits, 'out/fused_map': maps}
    if 'out/map_224' in case.arrays:
        protocol = get_protocol('sat')
        scores = np.stack([score_map(loc_map.numpy(), (224, 224), protocol) for loc_map in maps])
        step = 224 // case.arrays['out/map_224'].shape[-1]
        found['out/map_224'] = scores[:, ::step, ::step]
    return found


def compare_all(case: Case, found: Found) -> list[Comparison]:
    """Compare every output and gradient that the case holds; what is not computed is a failure."""
    results = []
    for name in sorted(case.arrays):
        if name.startswith(('state/', 'in/')):
            continue
        if name not in found:
            results.append(Comparison(f'{name} (not checked)', float('inf'), 0.0))
            continue
        value = found[name]
        value = value.detach().numpy() if isinstance(value, Tensor) else value
        results.append(close(name, value, case.arrays[name], tolerance_of(case, name)))
    return results


def tolerance_of(case: Case, name: str) -> float:
    """Return the tolerance that the description of a case gives for an array."""
    limits = case.meta['tolerance']
    limits = {'out': limits} if isinstance(limits, str) else limits
    largest = float(np.abs(case.arrays[name]).max(initial=0.0))
    kind, _, rest = name.partition('/')
    if kind == 'grad':
        if 'max|reference|' in limits['grad']:
            return 1e-4 * largest + 1e-7
        return absolute(limits['grad'])
    last = rest.rpartition('/')[2]
    if last in limits:
        return absolute(limits[last])
    if rest.startswith('param_after/'):
        return absolute(limits['param_after'])
    if re.fullmatch(r'tokens_final|block\d+_out|head_map', rest) and 'head_map' in limits['out']:
        return max(1e-4, 1e-5 * largest)
    return absolute(limits['out'])


def absolute(text: str) -> float:
    """Return the number after ``abs`` in a description of a tolerance.

    Raises:
        ValueError: If there is none.
    """
    match = re.match(r'abs ([\d.]+(?:e-?\d+)?)', text)
    if match is None:
        raise ValueError(f'no absolute tolerance in {text!r}')
    return float(match[1])
