"""Cases of the ts_cam models: outputs, intermediates, gradients and optimizer steps."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.map_boxes import score_map, score_map_boxes
from wsol_mm.models.layers import class_token_attention, rollout_map
from wsol_mm.models.weights import OFFICIAL_METHODS, convert_state_dict
from wsol_mm.models.weights.layouts import find_layout
from wsol_mm.registry import MODELS

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import Tensor, nn

from . import Case, Comparison, register
from .model_runs import group_comparison, quiet, recorded, samples_of
from .reference_weights import reference_images, reference_state

SCHEDULE = Path(__file__).resolve().parents[3] / 'configs' / 'ts_cam' / '_base_' / 'schedule_60e.py'


@register('ts_cam', lambda case: str(case.meta.get('model', '')).startswith('TSCAM'))
def check_model(case: Case) -> list[Comparison]:
    """Compare every listed output, intermediate, gradient and optimized weight."""
    state = convert_state_dict('ts-cam', reference_state(case), case.name)
    model = build_model(case.meta)
    found: dict[str, Tensor | np.ndarray] = {}
    labels = torch.from_numpy(case.arrays['in/label'])
    with quiet():
        model.load_state_dict(state, strict=True)
        found |= run_eval(model, case, labels)
        # Evaluation changes nothing, so training starts from the given state.
        found |= run_train(model, case, labels)
        results = [compare_missing_gradients(model, case)]
        if case.meta.get('optimizer', {}).get('steps'):
            model.load_state_dict(state, strict=True)
            found |= run_optimizer_steps(model, case, labels)
        if 'optimizer_groups' in case.meta:
            results.append(compare_groups(model, case))
    listed = {*case.arrays, *case.meta['arrays']}
    return results + [
        compare(case, name, found) for name in sorted(listed) if not name.startswith(('state/', 'in/'))
    ]


def build_model(meta: Mapping) -> nn.Module:
    """Return the model of a case, with initial weights."""
    args = meta['model_args']
    width, classes = args['embed_dim'], args['num_classes']
    keys = ('qkv_bias', 'drop_rate', 'attn_drop_rate', 'drop_path_rate', 'patch_size')
    common = {key: args[key] for key in keys if key in args}
    if 'channel_ratio' in args:
        if args.get('base_channel', 64) != 64 or args.get('num_med_block', 0):
            raise ValueError(f'only base_channel 64 and num_med_block 0 are supported, got {args}')
        arch = dict(
            embed_dims=width,
            depths=args['depth'],
            num_heads=args['num_heads'],
            channel_ratio=args['channel_ratio'],
        )
        backbone = dict(type='TokenConformer', arch=arch, mlp_ratio=args['mlp_ratio'], **common)
        head = dict(conv_channels=int(256 * args['channel_ratio']), conv_init='kaiming')
    else:
        arch = dict(
            embed_dims=width,
            num_layers=args['depth'],
            num_heads=args['num_heads'],
            feedforward_channels=int(width * args['mlp_ratio']),
        )
        norm = dict(type='LN', eps=meta.get('block_layernorm_eps', 1e-6))
        backbone = dict(
            type='TokenVisionTransformer', arch=arch, img_size=args['img_size'], norm_cfg=norm, **common
        )
        head = {}
    head = dict(type='TSCAMHead', num_classes=classes, in_channels=width, **head)
    return MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head))


def run_eval(model: nn.Module, case: Case, labels: Tensor) -> dict[str, Tensor | np.ndarray]:
    """Return all evaluation outputs and intermediates under the names of the arrays."""
    model.eval()
    images, head, backbone = reference_images(case), model.head, model.backbone
    modules = watched_modules(model)
    with torch.no_grad():
        with recorded(modules) as seen:
            feats = model.extract_feat(images, head.predict_attention)
        every = torch.arange(head.num_classes).expand(len(images), -1)
        full = model.extract_feat(images, 'full')
        samples = model(images, samples_of(labels), mode='predict')
        found = {
            'logits': head(feats),
            'cams': head.localization_maps(feats, every),
            'loss_ce': model(images, samples_of(labels), mode='loss')['loss'],
            'attn_cls_row': class_token_attention(feats).transpose(0, 1),
            'attn_map_sum': head.attention_map(feats),
            'class_map': head.semantic_conv.class_maps(feats.patch_map, every),
            'norm_tokens': seen['norm'],
            'block_out': torch.stack([seen[f'layer {i}'][0] for i in range(full.attention.shape[1])]),
            'attn_head_mean': full.attention.mean(dim=2).transpose(0, 1),
            'rollout': rollout_map(full),
        }
        if hasattr(backbone, 'patch_embed'):
            found |= {'patch_embed': seen['patch_embed'][0], 'tokens_in': seen['layer 0 input']}
        else:
            found |= {'trans_patch_conv': seen['trans_patch_conv']}
            found['conv_logits'] = head.conv_fc(feats.conv_map.mean(dim=(2, 3)))
            for number, _ in enumerate(backbone.fusion_stages, start=2):
                found[f'conv_trans_{number}_squeeze_out'] = seen[f'squeeze {number}']
                found[f'conv_out_{number}'] = seen[f'fusion {number}']
    boxes, maps = boxes_of([sample.loc_maps[0].numpy() for sample in samples], case.meta['box'])
    found |= {'gt_box': boxes, 'gt_map_resized': maps}
    return {f'out/eval/{name}': value for name, value in found.items()}


def watched_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules whose outputs are compared."""
    backbone = model.backbone
    if hasattr(backbone, 'patch_embed'):
        layers = dict(enumerate(backbone.layers))
        others = {'norm': backbone.ln1, 'patch_embed': backbone.patch_embed}
    else:
        stages = dict(enumerate(backbone.fusion_stages, start=2))
        layers = {0: backbone.trans_1} | {number - 1: stage.trans_block for number, stage in stages.items()}
        others = {'norm': backbone.trans_norm, 'trans_patch_conv': backbone.trans_patch_conv}
        others |= {f'squeeze {number}': stage.squeeze_block for number, stage in stages.items()}
        others |= {f'fusion {number}': stage.fusion_block for number, stage in stages.items()}
    return others | {f'layer {i}': layer for i, layer in layers.items()}


def boxes_of(maps: list[np.ndarray], settings: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (T, B, 4) and enlarged maps (B, H, W) of the ``ts_cam`` protocol."""
    protocol = get_protocol(
        'ts_cam',
        thresholds=sorted(settings['cam_thr']),
        threshold_choice='joint',
        error_breakdown=False,
    )
    side = settings['crop_size']
    scores = [score_map(loc_map, (side, side), protocol) for loc_map in maps]
    order = [protocol.thresholds.index(threshold) for threshold in settings['cam_thr']]
    boxes = np.stack([score_map_boxes(score, protocol)[order] for score in scores], axis=1)
    return boxes, np.stack(scores)


def run_train(model: nn.Module, case: Case, labels: Tensor) -> dict[str, Tensor]:
    """Return outputs, gradients and BatchNorm buffers of one training step without optimizer."""
    model.train()
    model.zero_grad()
    with recorded({'head': model.head, 'backbone': model.backbone}) as seen:
        loss = model(reference_images(case), samples_of(labels), mode='loss')['loss']
    loss.backward()
    every = torch.arange(model.head.num_classes).expand(len(labels), -1)
    with torch.no_grad():
        class_map = model.head.semantic_conv.class_maps(seen['backbone'].patch_map, every)
    found = {'out/train/logits': seen['head'], 'out/train/loss_ce': loss, 'out/train/class_map': class_map}
    for name, parameter in named_officially(model.named_parameters(), case).items():
        if parameter.grad is not None:
            found[f'grad/{name}'] = parameter.grad.clone()
    for name, buffer in named_officially(model.named_buffers(), case).items():
        found[f'out/train/buffer_after/{name}'] = buffer.clone()
    return found


def build_optimizer(model: nn.Module, lr: float) -> OptimWrapper:
    """Return the optimizer that the configs of TS-CAM build, with another learning rate."""
    settings = Config.fromfile(SCHEDULE).optim_wrapper
    settings.optimizer.lr = lr
    return build_optim_wrapper(model, settings)


def run_optimizer_steps(model: nn.Module, case: Case, labels: Tensor) -> dict[str, Tensor]:
    """Return all weights after the case's number of optimizer steps on its batch."""
    model.train()
    model.zero_grad()
    settings = case.meta['optimizer']
    wrapper = build_optimizer(model, settings['lr'])
    images = reference_images(case)
    for _ in range(settings['steps']):
        wrapper.update_params(model(images, samples_of(labels), mode='loss')['loss'])
    prefix = f'out/train/after_{settings["steps"]}_steps/'
    return {
        prefix + name: parameter.detach()
        for name, parameter in named_officially(model.named_parameters(), case).items()
    }


def our_names(official: list[str]) -> dict[str, str]:
    """Return official names to names here, by the table of the converter."""
    layout = find_layout(official, OFFICIAL_METHODS['ts-cam'].layouts)
    return {name: layout.rename(name) for name in official}


def named_officially(named: Iterator[tuple[str, Tensor]], case: Case) -> dict[str, Tensor]:
    """Return parameters or buffers under their official names."""
    theirs = {ours: name for name, ours in our_names(list(case.meta['parameters'])).items()}
    return {theirs[name]: value for name, value in named if name in theirs}


def compare_groups(model: nn.Module, case: Case) -> Comparison:
    """Compare which parameters decay, and how much."""
    wrapper = build_optimizer(model, case.meta['optimizer_groups'][0]['lr'])
    groups = case.meta['optimizer_groups']
    return group_comparison(model, wrapper, groups, names_of_groups(groups))


def names_of_groups(groups: list[Mapping]) -> dict[str, str]:
    """Return official names of the parameters in some groups to names here."""
    return our_names([name for group in groups for name in group['params']])


def compare_missing_gradients(model: nn.Module, case: Case) -> Comparison:
    """Count the parameters that have a gradient here and none in the reference, or the reverse."""
    missing = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    renamed = our_names(list(case.meta['parameters']))
    expected = {renamed[name] for name in case.meta.get('parameters_without_gradient', [])}
    return Comparison('parameters without gradient', float(len(missing ^ expected)), 0.0)


def compare(case: Case, name: str, found: Mapping[str, Tensor | np.ndarray]) -> Comparison:
    """Compare one array at the place where it is worst; what is not computed is a failure."""
    if name not in case.arrays:
        return Comparison(f'{name} (listed, but not in the npz)', float('inf'), 0.0)
    if name not in found:
        return Comparison(f'{name} (not checked)', float('inf'), 0.0)
    expected = case.arrays[name]
    value = found[name]
    value = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if value.shape != expected.shape:
        return Comparison(f'{name} (shape {value.shape} for {expected.shape})', float('inf'), 0.0)
    if np.issubdtype(expected.dtype, np.integer):
        return Comparison(name, float(np.count_nonzero(value != expected)), 0.0)
    expected = expected.astype(np.float64)
    error = np.abs(value.astype(np.float64) - expected)
    tolerance = tolerance_of(case, name, expected)
    worst = np.unravel_index(np.argmax(np.nan_to_num(error / tolerance, nan=np.inf)), error.shape)
    return Comparison(name, float(error[worst]), float(tolerance[worst]))


def tolerance_of(case: Case, name: str, expected: np.ndarray) -> np.ndarray:
    """Return the tolerance of every entry.

    The larger of atol + rtol * |reference| and four times the reference's own float32 error. A
    Conformer's tokens double from block to block: there it is relative to the block's largest value.
    """
    limits = case.meta['tolerance']
    if name == 'out/eval/block_out' and 'channel_ratio' in case.meta['model_args']:
        largest = np.abs(expected).max(axis=tuple(range(1, expected.ndim)), keepdims=True)
        return np.broadcast_to(limits['atol'] + limits['rtol'] * largest, expected.shape)
    key = re.sub(r'^train/after_\d+_steps', 'after_steps', name.removeprefix('out/'))
    deviation = case.meta.get('float64_deviation', {}).get(key, 0.0)
    return np.maximum(limits['atol'] + limits['rtol'] * np.abs(expected), 4 * deviation)
