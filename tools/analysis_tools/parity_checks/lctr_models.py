"""Cases of the lctr models: outputs, intermediate maps, gradients, optimizer steps and boxes."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import ConstantMapError
from wsol_mm.evaluation.map_boxes import empty_map_iou, localization_map_iou, score_map
from wsol_mm.models.layers import class_token_attention, relational_patch_maps
from wsol_mm.models.weights import OFFICIAL_METHODS, convert_state_dict
from wsol_mm.models.weights.layouts import find_layout
from wsol_mm.registry import MODELS
from wsol_mm.structures import TokenFeatures

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import Tensor, nn

from . import Case, Comparison, close, equal, register
from .model_runs import quiet, recorded, samples_of
from .reference_weights import reference_images, reference_state

SCHEDULE = (
    Path(__file__).resolve().parents[3] / 'configs' / '_base_' / 'schedules' / 'adamw-late-cosine_80e.py'
)
FRAME = (224, 224)
THRESHOLDS = {'009': 0.09, '018': 0.18}
#: The descriptions state tolerances in words: absolute, relative, and of a gradient relative to its largest
#: entry; and, of the parameters after optimizer steps, absolute.
ATOL, RTOL, GRADIENT_RTOL, STEPPED_ATOL = 1e-5, 1e-5, 1e-4, 2e-5


@register('lctr', lambda case: 'out/logits' in case.arrays and 'state/cls_token' in case.arrays)
def check_tiny(case: Case) -> list[Comparison]:
    """Compare all outputs of a small model in evaluation or training mode, and all gradients."""
    model = build_model(case)
    training = case.meta['mode'].startswith('train')
    model.train(training)
    found = run_model(model, case)
    results = compare_gradients(model, case) if training else compare_boxes(model, case)
    rtol = float(case.meta['tolerance']['rtol'])
    return results + compare_outputs(case, found, rtol)


@register('lctr', lambda case: 'weights_recipe' in case.meta)
def check_recipe(case: Case) -> list[Comparison]:
    """Compare the outputs of a model whose weights are drawn as the description says."""
    listed = case.meta['parameters']
    meta = {
        **case.meta,
        'parameters': {entry['name']: entry['shape'] for entry in listed},
        'norm_weight_names': [entry['name'] for entry in listed if entry['norm_weight']],
    }
    case = replace(case, meta=meta)
    model = build_model(case).eval()
    found = run_model(model, case)
    found |= {
        'out/conv3x3_sub': found['out/conv3x3'][:, ::16],
        'out/norm_tokens_sub': found['out/norm_tokens'][:, ::14, ::16],
    }
    results = []
    for name in case.arrays:
        expected = case.arrays[name].astype(np.float64)
        # "1e-4 absolute" for the logits, relative to its largest value for every map.
        largest = 1.0 if name == 'out/logits' else np.abs(expected).max()
        results.append(worst_of(name, found.get(name), expected, np.full(expected.shape, 1e-4 * largest)))
    boxes = predicted_boxes(model, reference_images(case))
    expected = np.array(case.meta['boxes']['boxes']).reshape(boxes.shape)
    return [*results, equal('boxes', boxes, expected)]


@register('lctr', lambda case: 'out/losses' in case.arrays)
def check_optimizer_steps(case: Case) -> list[Comparison]:
    """Compare losses, parameters and groups of the configs' optimizer over three steps."""
    model = build_model(case).train()
    settings = Config.fromfile(SCHEDULE).optim_wrapper
    settings.optimizer.lr = case.meta['optimizer']['groups'][0]['lr']
    with quiet():
        wrapper = build_optim_wrapper(model, settings)
    names = our_names(case)
    results = [compare_groups(model, wrapper, case.meta['optimizer']['groups'], names)]
    losses = []
    for images, labels in zip(case.arrays['in/images'], case.arrays['in/labels'], strict=True):
        loss = model(torch.from_numpy(images), samples_of(torch.from_numpy(labels)), mode='loss')['loss']
        losses.append(loss.item())
        wrapper.update_params(loss)
    expected = case.arrays['out/losses']
    results.append(worst_of('losses', np.array(losses), expected, np.full(expected.shape, 1e-5)))
    parameters = dict(model.named_parameters())
    for name in case.arrays:
        if not name.startswith('out/state_after/'):
            continue
        official = name.removeprefix('out/state_after/')
        found, expected = parameters[names[official]].detach().numpy(), case.arrays[name]
        tolerance = np.full(expected.shape, STEPPED_ATOL)
        if official.endswith('attn.qkv.bias'):
            # The key part has no true gradient: Adam turns rounding noise into steps.
            third = len(expected) // 3
            tolerance[third : 2 * third] = np.inf
        results.append(worst_of(name, found, expected, tolerance))
    return results


def build_model(case: Case) -> nn.Module:
    """Return the model of a case with its weights, through the converter."""
    args = case.meta['model_args']
    width = args['embed_dim']
    arch = dict(
        embed_dims=width,
        num_layers=args['depth'],
        num_heads=args['num_heads'],
        feedforward_channels=int(width * args.get('mlp_ratio', 4)),
    )
    backbone = dict(
        type='TokenVisionTransformer',
        arch=arch,
        img_size=args['img_size'],
        patch_size=args['patch_size'],
        qkv_bias=args['qkv_bias'],
        norm_cfg=dict(type='LN', eps=args.get('norm_eps', 1e-6)),
        drop_path_rate=args.get('drop_path_rate', 0.0),
    )
    head = dict(type='LCTRHead', num_classes=args['num_classes'], in_channels=width)
    model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head))
    state = convert_state_dict('lctr', {'model': reference_state(case)}, case.name)
    model.load_state_dict(state, strict=True)
    return model


def run_model(model: nn.Module, case: Case) -> dict[str, Tensor | np.ndarray]:
    """Return all outputs under the names of the arrays; in training mode, fill the gradients."""
    head, images = model.head, reference_images(case)
    found: dict[str, Tensor | np.ndarray] = {}
    if 'in/label' in case.arrays:
        labels = torch.from_numpy(case.arrays['in/label'])
        loss = model(images, samples_of(labels), mode='loss')['loss']
        if model.training:
            loss.backward()
        found['loss_ce'] = loss
    with torch.no_grad():
        found['logits'] = head(model.extract_feat(images))
        with recorded({'norm': model.backbone.ln1}) as seen:
            feats = model.extract_feat(images, head.predict_attention)
        found |= intermediate_maps(head, feats)
        found['norm_tokens'] = seen['norm']
        best = found['logits'].argmax(dim=1)
        chosen = best.expand(len(images), -1)
        found['pred_class'] = best
        found['class_maps_selected'] = head.cdm.class_maps(
            feats.patch_map, head.routing(feats), chosen
        ).relu()
        found['class_map'] = found['class_maps_selected'].diagonal().permute(2, 0, 1)
        found['fused'] = head.localization_maps(feats, best[:, None]).squeeze(1)
        if 'out/attn_avg_sample0' in case.arrays:
            full = model.extract_feat(images[:1], 'full').attention
            found['attn_avg_sample0'] = full.mean(dim=(1, 2))[0]
        if 'out/map224' in case.arrays:
            maps = found['fused'].numpy()[: len(case.arrays['out/map224'])]
            found['map224'] = np.stack([score_map(one, FRAME, get_protocol('lctr')) for one in maps])
    return {f'out/{name}': value for name, value in found.items()}


def intermediate_maps(head: nn.Module, feats: TokenFeatures) -> dict[str, Tensor]:
    """Return what the head makes of features on its way."""
    routing = head.routing(feats)
    return {
        'cls_attn_layers': class_token_attention(feats),
        'reverse_attn': head.reverse_attention(feats),
        'conv3x3': head.cues(feats),
        'routing': routing,
        'cdm': head.cdm(feats.patch_map, routing),
        'rpam_layers': relational_patch_maps(feats),
        'rpam': head.attention_map(feats),
    }


def predicted_boxes(model: nn.Module, images: Tensor) -> np.ndarray:
    """Return boxes (B, T, 4) of the predicted classes' maps, through the model's prediction."""
    with torch.no_grad():
        samples = model(images, mode='predict')
    own = [sample.loc_maps[sample.loc_labels == sample.pred_label][0] for sample in samples]
    return boxes_of(loc_map.numpy() for loc_map in own)


def boxes_of(maps: Iterable[np.ndarray]) -> np.ndarray:
    """Return boxes (B, T, 4) of localization maps at the published thresholds."""
    boxes = []
    whole = np.array([[0, 0, *FRAME]])
    for loc_map in maps:
        for threshold in THRESHOLDS.values():
            protocol = get_protocol('lctr', thresholds=(threshold,))
            try:
                result = localization_map_iou(loc_map, whole, FRAME, protocol)
            except ConstantMapError:
                result = empty_map_iou(whole, FRAME, protocol)
            boxes.append(result.boxes[0])
    return np.stack(boxes).reshape(-1, len(THRESHOLDS), 4)


def compare_boxes(model: nn.Module, case: Case) -> list[Comparison]:
    """Compare boxes: of the reference's maps they must be equal, of the model's own as the case says."""
    stated = case.meta['tolerance'].get('boxes', '+-0 pixel')
    allowed = re.fullmatch(r'\+-(\d+) pixel', stated)
    if allowed is None:
        raise ValueError(f'{case.name}: tolerance of boxes is not understood: {stated!r}')
    given, own = boxes_of(case.arrays['out/fused']), predicted_boxes(model, reference_images(case))
    results = []
    for i, key in enumerate(THRESHOLDS):
        name = f'out/box_th{key}'
        expected = case.arrays[name]
        results += [
            equal(f'{name} of out/fused', given[:, i], expected),
            close(name, own[:, i], expected, float(allowed[1])),
        ]
    return results


def compare_outputs(case: Case, found: Mapping[str, Tensor | np.ndarray], rtol: float) -> list[Comparison]:
    """Compare every output of a case; what is not computed is a failure."""
    results = []
    for name in case.arrays:
        if not name.startswith('out/') or name.startswith('out/box_th'):
            continue
        expected = case.arrays[name].astype(np.float64)
        if name == 'out/fused':
            tolerance = np.full(expected.shape, 1e-5 * np.abs(expected).max())
        else:
            tolerance = ATOL + rtol * np.abs(expected)
        results.append(worst_of(name, found.get(name), expected, tolerance))
    return results


def compare_gradients(model: nn.Module, case: Case) -> list[Comparison]:
    """Compare all gradients, each relative to its largest entry."""
    names, parameters = our_names(case), dict(model.named_parameters())
    results = []
    for official, ours in names.items():
        expected = case.arrays[f'grad/{official}']
        found = parameters[ours].grad
        found = None if found is None else found.numpy()
        largest = np.abs(expected).max()
        tolerance = np.full(expected.shape, GRADIENT_RTOL * largest)
        results.append(worst_of(f'grad/{official}', found, expected, tolerance))
    if len(results) != len(parameters):
        results.append(Comparison('parameters with a gradient', float('inf'), 0.0))
    return results


def compare_groups(
    model: nn.Module, wrapper: OptimWrapper, groups: list[Mapping], names: Mapping[str, str]
) -> Comparison:
    """Count the parameters whose optimizer settings differ from the reference's groups."""
    keys = ('weight_decay', 'lr', 'eps', 'betas')

    def settings(group: Mapping) -> list:
        return [list(group[key]) if key == 'betas' else group[key] for key in keys]

    own = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        own[id(parameter)]: settings(group)
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    expected = {names[name]: settings(group) for group in groups for name in group['params']}
    wrong = {name for name in {*found, *expected} if found.get(name) != expected.get(name)}
    return Comparison('optimizer groups', float(len(wrong)), 0.0)


def our_names(case: Case) -> dict[str, str]:
    """Return official names to names here, by the table of the converter."""
    official = [name.removeprefix('state/') for name in case.arrays if name.startswith('state/')]
    layout = find_layout(official, OFFICIAL_METHODS['lctr'].layouts)
    return {name: layout.rename(name) for name in official}


def worst_of(
    name: str, found: Tensor | np.ndarray | None, expected: np.ndarray, tolerance: np.ndarray
) -> Comparison:
    """Compare one array at the place where its error over its tolerance is largest."""
    if found is None:
        return Comparison(f'{name} (not checked)', float('inf'), 0.0)
    found = found.detach().numpy() if isinstance(found, Tensor) else np.asarray(found)
    if found.shape != expected.shape:
        return Comparison(f'{name} (shape {found.shape} for {expected.shape})', float('inf'), 0.0)
    if np.issubdtype(found.dtype, np.integer):
        return equal(name, found, expected)
    error = np.abs(found.astype(np.float64) - expected)
    worst = np.unravel_index(np.argmax(np.nan_to_num(error / tolerance, nan=np.inf)), error.shape)
    return Comparison(name, float(error[worst]), float(tolerance[worst]))
