"""SAT: models, modules alone, losses, optimizer steps, and its data side."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from wsol_mm.datasets import CUB
from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import ImageGeometry, box_iou, gt_boxes_to_frame
from wsol_mm.evaluation.map_boxes import score_map
from wsol_mm.models.layers import SpatialQueryAttention, fused_spatial_mask, gaussian_kernel
from wsol_mm.registry import MODELS
from wsol_mm.structures import CENTER_CROP

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.registry import DefaultScope
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from .. import features as ft
from .. import models as run
from ..case import Case
from ..comparison import Comparison, Found, close, equal, failure, stated_tolerance
from ..engine import checks, computes

CONFIG = run.CONFIGS / 'sat' / 'sat_deit-s_cub.py'


def tolerance_of(case: Case, name: str, expected: NDArray) -> NDArray:
    """The description allows more for tokens and the head's map, in words of its own."""
    allowed = re.search(
        r'\(tokens_final, block outputs and head_map: abs ([\de.-]+) or rel ([\de.-]+)\)',
        str(case.get('tolerance')),
    )
    if allowed and re.fullmatch(r'out/(tokens_final|block\d+_out|head_map)', name):
        return np.asarray(max(float(allowed[1]), float(allowed[2]) * np.abs(expected).max()))
    return stated_tolerance(case, name, expected)


def build(case: Case) -> nn.Module:
    """Return the model of a case with its weights; a kernel that a recipe leaves alone is the reference's."""
    target = case.number('area_target')
    if target is None:
        raise case.error('area_thr', None, 'the target of the area loss')
    head = dict(type='SATHead', area_loss=dict(target_area=target))
    kernel = gaussian_kernel(3, 6).float()[None, None]
    return run.load(run.build_model(case, head, 'SpatialTokenTransformer'), 'sat', case, weight=kernel)


@computes('sat', lambda case: case.has_model and 'optimizer' not in case.meta, tolerance_of)
def compute_model(case: Case, dtype: torch.dtype) -> Found:
    """Every output, intermediate and gradient of a model."""
    model, images, labels = build(case).to(dtype), case.images().to(dtype), case.labels()
    found: Found = {}
    if labels is not None:
        found = run_train(model, images, labels) | run.gradients('sat', case, model)
    return found | run_eval(model, images, case)


def run_train(model: nn.Module, images: Tensor, labels: Tensor) -> Found:
    """Return outputs and losses of a training step; the gradients are in the model."""
    model.train()
    layers = {f'layer {index}': layer for index, layer in enumerate(model.backbone.layers)}
    watched = {'backbone': model.backbone, 'embed': model.backbone.patch_embed, 'norm': model.backbone.ln1}
    with run.recorded({**watched, **layers}) as seen:
        losses = model(images, run.samples_of(labels), mode='loss')
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
            'head_map': head.semantic_conv(ft.feature_map(feats)),
            'fused_map': maps,
        }
        found |= {f'block{index}_out': seen[f'layer {index}'][0] for index in range(len(layers))}
    return run.prefixed('out/', found)


def block_masks(model: nn.Module, seen: Mapping) -> Tensor:
    """Return the mask of every block, (depth, B, N), also of those that do not use it."""
    masks = []
    for index, layer in enumerate(model.backbone.layers):
        query, key, _ = layer.attn.project_qkv(layer.ln1(seen[f'layer {index} input']))
        masks.append(layer.attn.spatial_mask(query, key))
    return torch.stack(masks)


def run_eval(model: nn.Module, images: Tensor, case: Case) -> Found:
    """Return the outputs of a prediction: they replace those of training, which must be the same."""
    model.eval()
    with torch.no_grad():
        samples = model(images, mode='predict')
        logits = model.head(ft.extract(model, images))
    maps = torch.cat([sample.loc_maps for sample in samples])
    found = {'out/logits': logits, 'out/fused_map': maps}
    for name in case.listed():
        enlarged = re.fullmatch(r'out/map_(\d+)', name)
        if enlarged:
            size = (int(enlarged[1]),) * 2
            found[name] = np.stack([score_map(one.numpy(), size, get_protocol('sat')) for one in maps])
    return found


@computes('sat', lambda case: 'optimizer' in case.meta and ('state_from' in case.meta or case.has_model))
def compute_steps(case: Case, dtype: torch.dtype) -> Found:
    """Parameter groups, and losses and weights over some steps."""
    start = case.sibling(case.meta['state_from']) if 'state_from' in case.meta else case
    groups = run.groups_of(case)
    target = case.number('area_target', start.number('area_target'))
    start.meta['area_thr'] = target
    model = build(start).to(dtype)
    wrapper = run.build_optimizer(model, CONFIG, groups[0]['lr'])
    names = run.our_names('sat', [name for group in groups for name in group['params']], start.shapes)
    found: Found = {'groups': run.compare_groups(model, wrapper, groups, names)}
    model.train()
    steps = []
    for images, labels in zip(case.arrays['in/images'], case.arrays['in/labels'], strict=True):
        samples = run.samples_of(torch.from_numpy(labels))
        losses = model(torch.from_numpy(images).to(dtype), samples, mode='loss')
        parts = [losses['loss_cls'], losses['loss_area'], losses['loss_norm']]
        steps.append([value.item() for value in (sum(parts), *parts, losses['mean_area'])])
        wrapper.update_params(sum(parts))
    found |= run.official_values('sat', start, 'out/param_after/', model.named_parameters())
    return found | {'out/step_losses': np.array(steps)}


@computes('sat', lambda case: case.meta.get('official_class') == 'Attention')
def compute_attention(case: Case, dtype: torch.dtype) -> Found:
    """The attention alone: plain below the masked layers, masked in them."""
    args, arrays = case.meta['model_args'], case.arrays
    if any(name.startswith('state/depth') for name in arrays):
        return {'state': failure('state/depth (not checked)')}
    found: Found = {}
    for prefix in sorted({name.split('/')[1] for name in arrays if name.startswith('out/')}):
        attention = SpatialQueryAttention(
            args['dim'], args['num_heads'], qkv_bias=args['qkv_bias'], masked=int(prefix[5:]) >= 9
        )
        attention.load_state_dict(case.state(), strict=True)
        attention.to(dtype)
        x, grad_out, grad_mask = (
            torch.from_numpy(arrays[f'in/{name}']).to(dtype) for name in ('x', 'grad_out', 'grad_mask')
        )
        out, maps = attention(x.requires_grad_())
        query, key, _ = attention.project_qkv(x)
        mask = maps.get('spatial_mask', attention.spatial_mask(query, key))[:, None, None]
        ((out * grad_out).sum() + (mask * grad_mask).sum()).backward()
        found |= {f'out/{prefix}/out': out, f'out/{prefix}/mask': mask, f'grad/{prefix}/x': x.grad}
        for name, parameter in attention.named_parameters():
            found[f'grad/{prefix}/{name}'] = parameter.grad
    return found


@computes('sat', lambda case: any(name.endswith('/masks_last3') for name in case.arrays))
def compute_map_losses(case: Case, dtype: torch.dtype) -> Found:
    """Map, area loss and normalization loss on given masks, with gradients."""
    found: Found = {}
    area, norm = [MODELS.build(dict(type=kind)).to(dtype) for kind in ('BatchAreaLoss', 'NormalizationLoss')]
    kinds = [name.split('/')[1] for name in case.arrays if name.startswith('in/') and name.endswith('_last3')]
    for kind in kinds:
        masks = torch.from_numpy(case.arrays[f'in/{kind}/masks_last3']).to(dtype).requires_grad_()
        maps = fused_spatial_mask(features_with(masks))
        found[f'out/{kind}/fused_map'] = maps
        found[f'out/{kind}/area_per_sample'] = maps.mean(dim=(1, 2))
        found[f'out/{kind}/filtered_map'] = norm.filter(maps)
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
    return found


def features_with(masks: Tensor, tokens: Tensor | None = None) -> tuple:
    """Return features with masks (M, B, N) of the reference, and with patch tokens (B, h*w, D) or none."""
    side = round((masks.shape[-1] - 2) ** 0.5)
    if tokens is None:
        patches = masks.new_zeros(masks.shape[1], 1, side, side)
    else:
        patches = tokens.transpose(1, 2).unflatten(2, (side, side))
    return ft.features(patches, spatial_mask=masks.transpose(0, 1))


@computes('sat', lambda case: 'in/patch_tokens' in case.arrays)
def compute_classification(case: Case, dtype: torch.dtype) -> Found:
    """The head's convolution, logits and cross-entropy on given tokens, by its shortcut and by class maps."""
    classes, width = case.shapes['head.weight'][:2]
    head = MODELS.build(dict(type='SATHead', num_classes=classes, in_channels=width))
    renamed = run.our_names('sat', case.shapes)
    own = {renamed[name].removeprefix('head.'): value for name, value in case.state().items()}
    missing = {*head.load_state_dict(own, strict=False).missing_keys}
    unfilled = missing - {'normalization_loss.filter.kernel'}
    found: Found = {'unfilled': Comparison('unfilled entries', float(len(unfilled)), 0.0)}
    head = head.to(dtype)
    labels = case.labels()
    for way in ('', ' (plain formula)'):
        head.zero_grad()
        tokens = torch.from_numpy(case.arrays['in/patch_tokens']).to(dtype).requires_grad_()
        feats = features_with(tokens.new_zeros(3, len(tokens), 2 + tokens.shape[1]), tokens)
        class_map = head.semantic_conv(ft.feature_map(feats))
        if way:
            logits = class_map.mean(dim=(2, 3))
            loss = nn.functional.cross_entropy(logits, labels)
        else:
            logits, loss = head(feats), head.loss(feats, run.samples_of(labels))['loss_cls']
        loss.backward()
        arrays = {'out/head_map': class_map, 'out/logits': logits, 'out/loss': loss}
        arrays['grad/patch_tokens'] = tokens.grad
        named = head.semantic_conv.named_parameters()
        arrays |= {f'grad/head.{name}': value.grad.clone() for name, value in named}
        found |= {f'{name}{way}': value.detach().clone() for name, value in arrays.items()}
    return found


@computes('sat', lambda case: str(case.meta.get('official_function', '')).startswith('get_kernel'))
def compute_kernels(case: Case, dtype: torch.dtype) -> Found:
    """The smoothing kernels."""
    named = {name: re.fullmatch(r'out/kernel_k(\d+)_s([\d.]+)', name) for name in case.arrays}
    return {name: gaussian_kernel(int(size[1]), float(size[2])) for name, size in named.items() if size}


@checks('sat', lambda case: {'in/wh', 'in/boxes', 'in/offsets'} <= {*case.arrays})
def check_gt_boxes(case: Case) -> Iterator[Comparison]:
    """Boxes of all loaders, at every resize and crop size of the case."""
    arrays = case.arrays
    conversion, offsets = get_protocol('sat').gt_conversion, arrays['in/offsets']
    for key in [name for name in arrays if name.endswith('/all')]:
        resize, crop = (int(part[1:]) for part in key.split('/')[1].split('_'))
        found = []
        for size, start, stop in zip(arrays['in/wh'], offsets, offsets[1:], strict=False):
            geometry = ImageGeometry(tuple(size.tolist()), (resize, resize), (crop, crop))
            found.append(gt_boxes_to_frame(arrays['in/boxes'][start:stop], geometry, conversion))
        stem = key.removesuffix('all')
        yield equal(key, np.concatenate(found), arrays[key])
        yield equal(f'{stem}ilsvrc', np.concatenate(found), arrays[f'{stem}ilsvrc'])
        yield equal(f'{stem}first', np.stack([boxes[0] for boxes in found]), arrays[f'{stem}first'])


@checks('sat', lambda case: {*case.arrays} == {'in/pred', 'in/gt', 'out/iou'})
def check_iou(case: Case) -> Iterator[Comparison]:
    """IoU of pixel boxes, degenerate ones too."""
    inclusive = get_protocol('sat').inclusive_iou
    pairs = zip(case.arrays['in/pred'], case.arrays['in/gt'], strict=True)
    found = [box_iou(box[None], truth[None], inclusive)[0, 0] for box, truth in pairs]
    yield close('iou', found, case.arrays['out/iou'], 1e-9)


@checks('sat', lambda case: 'resize_size' in case.meta.get('args', ()) and 'in/img0' in case.arrays)
def check_test_pipeline(case: Case) -> Iterator[Comparison]:
    """Images and lists on disk, through data set, pipeline of the configs and data preprocessor."""
    settings = Config.fromfile(CONFIG)
    resize, crop = case.meta['args']['resize_size'], case.meta['args']['crop_size']
    pipeline = settings.test_dataloader.dataset.pipeline
    for transform in pipeline:
        if transform.type == 'Resize':
            transform.scale = (resize, resize)
        elif transform.type == 'TenCrop':
            transform.crop_size = crop
    images = [case.arrays[name] for name in sorted(case.arrays) if name.startswith('in/img')]
    with TemporaryDirectory() as folder, DefaultScope.overwrite_default_scope('wsol_mm'):
        write_lists(Path(folder), images)
        dataset = CUB(folder, split='test', list_dir='', test_mode=True, pipeline=pipeline)
        batch = default_collate([dataset[i] for i in range(len(images))])
        normalised = MODELS.build(settings.data_preprocessor)(batch)['inputs'].numpy()
    conversion = get_protocol('sat').gt_conversion
    for i, sample in enumerate(batch['data_samples']):
        boxes = gt_boxes_to_frame(sample.gt_bboxes, ImageGeometry.from_metainfo(sample.metainfo), conversion)
        # inputs are BGR, the reference's arrays RGB
        crops = batch['inputs'][i].numpy()[:, ::-1]
        yield equal(f'img{i}/tencrop', crops, case.arrays[f'out/img{i}/tencrop'])
        yield close(f'img{i}/center', normalised[i, CENTER_CROP], case.arrays[f'out/img{i}/center'], 1e-6)
        yield equal(f'img{i}/box', boxes[0], case.arrays[f'out/img{i}/box'])


def write_lists(root: Path, images: Sequence[NDArray]) -> None:
    """Write images and lists in the form that SAT's loader of CUB reads; every box is 5, 6, w - 9, h - 4."""
    folder = root / 'test' / '001.Bird'
    folder.mkdir(parents=True)
    names, boxes = [], []
    for i, image in enumerate(images):
        height, width = image.shape[:2]
        Image.fromarray(image).save(folder / f'{i}.png')
        names.append(f'001.Bird/{i}.png;0')
        boxes.append(f'5 6 {width - 9} {height - 4} {height} {width}')
    (root / 'test_list.txt').write_text('\n'.join(names))
    (root / 'test_gt.txt').write_text('\n'.join(boxes))
