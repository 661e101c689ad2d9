"""LCTR: models, modules alone, optimizer steps, and its data side."""

import re
from collections.abc import Iterable, Iterator, Mapping

from wsol_mm.datasets.samplers import RepeatedAugSampler
from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import ImageGeometry, gt_boxes_to_frame
from wsol_mm.evaluation.map_boxes import score_map
from wsol_mm.models.layers import (
    CueDigging,
    RelationalAttention,
    RelationalEncoderLayer,
    relational_patch_maps,
)

import numpy as np
import torch
from mmengine.config import Config
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import features as ft
from .. import models as run
from ..case import Case
from ..comparison import Comparison, Found, close, equal, failure, stated_tolerance
from ..engine import checks, computes
from ..evaluators import boxes_and_iou

#: The configs of the data sets, as the reference calls them.
CONFIGS = {
    'cub': run.CONFIGS / 'lctr' / 'lctr_deit-s_cub.py',
    'imnet': run.CONFIGS / 'lctr' / 'lctr_deit-s_ilsvrc.py',
}
#: Side of the frame that the reference enlarges every map to.
FRAME = 224
CROP, SHORT_SIDE = 224, 256
_DEFAULTS = {'grad': '1e-4 * max', 'state_after': '2e-5', 'box': '+-0 pixel'}


def tolerance_of(case: Case, name: str, expected: NDArray) -> NDArray:
    """Some cases state no tolerance of gradients; a gradient that is zero in truth is noise everywhere."""
    tolerance = stated_tolerance(case, name, expected, _DEFAULTS)
    if re.search(r'/state_after/.*attn\.qkv\.bias$', name):
        # The key part has no true gradient: Adam turns rounding noise into steps.
        tolerance = np.full(expected.shape, tolerance)
        tolerance[len(expected) // 3 : 2 * len(expected) // 3] = np.inf
    return tolerance


def build(case: Case) -> nn.Module:
    """Return the model of a case with its weights."""
    return run.load(run.build_model(case, dict(type='LCTRHead'), 'RelationalTransformer'), 'lctr', case)


@computes('lctr', lambda case: case.has_model and 'optimizer' not in case.meta, tolerance_of)
def compute_model(case: Case, dtype: torch.dtype) -> Found:
    """All outputs of a model in evaluation or training mode, gradients, and boxes."""
    model, images, labels = build(case).to(dtype), case.images().to(dtype), case.labels()
    model.train(bool(case.trains))
    images.requires_grad_(model.training)
    found = run_model(model, images, labels, case)
    if case.trains:
        found |= run.gradients('lctr', case, model) | {'grad/in/image': images.grad}
        without = sum(parameter.grad is None for parameter in model.parameters())
        found['gradients'] = Comparison('parameters without a gradient', float(without), 0.0)
    return found | compare_boxes(model, images, case)


def run_model(model: nn.Module, images: Tensor, labels: Tensor | None, case: Case) -> Found:
    """Return all outputs under the names of the arrays; in training mode, fill the gradients."""
    head = model.head
    found: Found = {}
    if labels is not None:
        loss = model(images, run.samples_of(labels), mode='loss')['loss']
        if model.training:
            loss.backward()
        found['loss_ce'] = loss
    with torch.no_grad():
        with run.recorded({'norm': model.backbone.ln1}) as seen:
            feats = ft.extract(model, images)
        found |= {'logits': head(model.extract_feat(images)), 'norm_tokens': seen['norm']}
        found |= intermediate_maps(head, feats)
        best = found['logits'].argmax(dim=1)
        chosen = best.expand(len(images), -1)
        found['pred_class'] = best
        found['class_maps_selected'] = head.cdm.class_maps(
            ft.feature_map(feats), head.routing(feats), chosen
        ).relu()
        found['class_map'] = found['class_maps_selected'].diagonal().permute(2, 0, 1)
        found['fused'] = head.localization_maps(feats, best[:, None]).squeeze(1)
        if 'out/attn_avg_sample0' in case.arrays:
            full = ft.full_attention(ft.extract_full_attention(model, images[:1]))
            found['attn_avg_sample0'] = full.mean(dim=(1, 2))[0]
    for name in case.listed():
        enlarged = re.fullmatch(r'out/(map_?(\d+)\w*)', name)
        if enlarged:
            size = (int(enlarged[2]),) * 2
            maps = found['fused'].numpy()[: len(case.arrays[name])]
            found[enlarged[1]] = np.stack([score_map(one, size, get_protocol('lctr')) for one in maps])
    return run.prefixed('out/', found)


def intermediate_maps(head: nn.Module, feats: tuple) -> Found:
    """Return what the head makes of features on its way."""
    routing = head.routing(feats)
    return {
        'cls_attn_layers': ft.class_rows(feats),
        'reverse_attn': head.reverse_attention(feats),
        'conv3x3': head.cues(feats),
        'routing': routing,
        'cdm': head.cdm(ft.feature_map(feats), routing),
        'rpam_layers': relational_patch_maps(feats),
        'rpam': head.attention_map(feats),
    }


def boxes_of(maps: Iterable[NDArray], threshold: float, side: int) -> NDArray:
    """Return boxes (B, 4) of localization maps at a threshold."""
    whole = np.array([[0, 0, side, side]])
    maps = list(maps)
    protocol = get_protocol('lctr', thresholds=(threshold,))
    return boxes_and_iou(protocol, maps, [whole] * len(maps), (side, side))[0][:, 0]


def compare_boxes(model: nn.Module, images: Tensor, case: Case) -> Found:
    """Boxes: of the reference's maps they must be equal, of the model's own as the case says."""
    listed = [name for name in sorted(case.arrays) if re.fullmatch(r'out/box_th\d+', name)]
    described = case.meta.get('boxes')
    if not listed and not isinstance(described, Mapping):
        return {}
    side = case.frame(default=FRAME)
    with torch.no_grad():
        samples = model.eval()(images, mode='predict')
    own = [sample.loc_maps[sample.loc_labels == sample.pred_label][0].numpy() for sample in samples]
    found: Found = {}
    if isinstance(described, Mapping):
        thresholds = [float(text) for text in re.findall(r'\d*\.\d+', described['order'])]
        boxes = np.stack([boxes_of(own, threshold, side) for threshold in thresholds], axis=1)
        found['boxes'] = equal('boxes', boxes.reshape(-1, 4), described['boxes'])
    stated = case.meta['tolerance'].get('boxes', _DEFAULTS['box'])
    allowed = re.fullmatch(r'\+-(\d+) pixel', stated)
    if listed and allowed is None:
        raise case.error('tolerance of boxes', stated, '"+-N pixel"')
    for name in listed:
        # 009 is 0.09
        threshold = float(f'{name[10]}.{name[11:]}')
        found[name] = boxes_of(case.arrays['out/fused'], threshold, side)
        title = f'{name} of the own map'
        found[title] = close(title, boxes_of(own, threshold, side), case.arrays[name], float(allowed[1]))
    return found


@computes('lctr', lambda case: case.has_model and 'optimizer' in case.meta, tolerance_of)
def compute_steps(case: Case, dtype: torch.dtype) -> Found:
    """Losses, parameters and groups of the configs' optimizer over some steps."""
    model, groups = build(case).to(dtype).train(), run.groups_of(case)
    wrapper = run.build_optimizer(model, CONFIGS['cub'], groups[0]['lr'])
    names = run.our_names('lctr', case.shapes)
    found: Found = {'groups': run.compare_groups(model, wrapper, groups, names)}
    losses = []
    for images, labels in zip(case.arrays['in/images'], case.arrays['in/labels'], strict=True):
        samples = run.samples_of(torch.from_numpy(labels))
        loss = model(torch.from_numpy(images).to(dtype), samples, mode='loss')['loss']
        losses.append(loss.item())
        wrapper.update_params(loss)
    found['out/losses'] = np.array(losses)
    return found | run.official_values('lctr', case, 'out/state_after/', model.named_parameters())


@computes('lctr', lambda case: any(name.startswith('c0/state/') for name in case.arrays), tolerance_of)
def compute_modules(case: Case, dtype: torch.dtype) -> Found:
    """Attention with RPAM, an encoder layer and the CDM alone, in every configuration: with gradients."""
    found: Found = {}
    for index, config in enumerate(case.meta['configs']):
        prefix = f'c{index}/'
        arrays = {name[len(prefix) :]: case.arrays[name] for name in case.arrays if name.startswith(prefix)}
        compute = run_cdm if 'num_experts' in config else run_attention
        found |= run.prefixed(prefix, compute(config, arrays, dtype))
    return found


def run_attention(config: Mapping, arrays: Mapping[str, NDArray], dtype: torch.dtype) -> Found:
    """Return outputs and gradients of an attention or of an encoder layer."""
    common = dict(embed_dims=config['dim'], num_heads=config['num_heads'], qkv_bias=config['qkv_bias'])
    if config['kind'] == 'Block':
        hidden = int(config['dim'] * config['mlp_ratio'])
        module = RelationalEncoderLayer(
            feedforward_channels=hidden, norm_cfg=dict(type='LN', eps=1e-6), **common
        )
        names = official_names(arrays, 'blocks.0.', 'backbone.layers.0.')
    else:
        module = RelationalAttention(**common)
        names = official_names(arrays, 'blocks.0.attn.', 'backbone.layers.0.attn.')
    x, w1, w2, w3 = load_inputs(module.train(), arrays, names, dtype, 'x', 'w1', 'w2', 'w3')
    y, rows, propagated, full = ft.attention_layer(module, x)
    class_row = rows.mean(dim=1)[:, 1:]
    propagated = propagated[:, 1:].unflatten(1, w3.shape[-2:])[:, None]
    loss = (y * w1).sum() / y.numel() + 10 * (class_row * w2).sum() + 1000 * (propagated * w3).sum()
    loss.backward()
    outputs = {
        'y': y,
        'cls_attn': class_row,
        'rpam': propagated,
        'attn_mean_sample0': full[0].mean(dim=0),
        'loss': loss,
    }
    return run.prefixed('out/', outputs) | gradients(module, names, x=x)


def run_cdm(config: Mapping, arrays: Mapping[str, NDArray], dtype: torch.dtype) -> Found:
    """Return outputs and gradients of a cue digging module."""
    module = CueDigging(
        config['in_channels'], config['out_channels'], config['num_experts'], config['kernel_size']
    )
    names = official_names(arrays, 'CDM.', 'head.cdm.')
    x, cues, w = load_inputs(module, arrays, names, dtype, 'x', 'attn_x', 'w')
    routing = module.routing(cues)
    y = module(x, routing)
    loss = (y * w).sum() / y.numel()
    loss.backward()
    outputs = run.prefixed('out/', {'y': y, 'routing': routing, 'loss': loss})
    return outputs | gradients(module, names, x=x, attn_x=cues)


def official_names(arrays: Mapping[str, NDArray], theirs: str, ours: str) -> dict[str, str]:
    """Return official names of a module's weights to names here, by the table of the converter.

    Args:
        arrays: Arrays of the configuration.
        theirs: Where the module is in an official checkpoint.
        ours: Where it is here.
    """
    official = [name.removeprefix('state/') for name in arrays if name.startswith('state/')]
    names = run.our_names('lctr', [theirs + name for name in official])
    return {name: names[theirs + name].removeprefix(ours) for name in official}


def load_inputs(
    module: nn.Module,
    arrays: Mapping[str, NDArray],
    names: Mapping[str, str],
    dtype: torch.dtype,
    *inputs: str,
) -> list[Tensor]:
    """Fill a module with the weights of a case, and return the inputs, which require gradients."""
    state = {ours: torch.from_numpy(arrays[f'state/{name}']) for name, ours in names.items()}
    module.load_state_dict(state, strict=True)
    module.to(dtype)
    return [torch.from_numpy(arrays[f'in/{name}']).to(dtype).requires_grad_() for name in inputs]


def gradients(module: nn.Module, names: Mapping[str, str], **inputs: Tensor) -> Found:
    """Return the gradients of weights and inputs under the names of the arrays."""
    parameters = dict(module.named_parameters())
    found = {f'grad/{name}': parameters[ours].grad for name, ours in names.items()}
    return found | {f'grad/in/{name}': value.grad for name, value in inputs.items()}


@checks('lctr', lambda case: case.meta.get('mode') == 'schedule')
def check_schedule(case: Case) -> Iterator[Comparison]:
    """The learning rates of the configs' schedules, epoch by epoch."""
    for name, file in CONFIGS.items():
        expected, settings = case.arrays[f'out/{name}_lr'], case.meta['settings'][name]
        cfg = Config.fromfile(file)
        yield equal(f'{name} epochs', cfg.train_cfg.max_epochs, settings['epochs'])
        rates = run.rates_of(cfg.param_scheduler, cfg.optim_wrapper.optimizer.lr, len(expected))
        yield close(f'{name}_lr', rates / expected, np.ones(len(expected)), 1e-9)


@checks('lctr', lambda case: case.meta.get('mode') == 'sampler')
def check_sampler(case: Case) -> Iterator[Comparison]:
    """The indices that every process draws."""
    for index, config in enumerate(case.meta['configs']):
        for rank in range(config['world']):
            settings = dict(type=RepeatedAugSampler.__name__, shuffle=config['shuffle'])
            place = (rank, config['world'], config['epoch'])
            found, length = run.sampled_indices(settings, config['n'], *place)
            name = f'out/c{index}_rank{rank}'
            yield equal(name, found, case.arrays[name])
            yield equal(f'{name} length', length, len(case.arrays[name]))


@checks('lctr', lambda case: 'in/CUB_list_box' in case.arrays)
def check_boxes(case: Case) -> Iterator[Comparison]:
    """Boxes in the test crop, and every N-th pixel of the configs' test pipeline.

    What the reference returns when it reads a box a second time is a fault and is not reproduced.
    """
    arrays = case.arrays
    for name in ('CUB', 'IMNET'):
        sizes, listed = arrays[f'in/{name}_size_wh'], arrays[f'in/{name}_list_box']
        boxes = listed.copy()
        if name == 'CUB':
            boxes[:, 2:] += boxes[:, :2]
        pairs = zip(boxes, sizes, strict=True)
        found = [gt_boxes_to_frame(box[None], geometry_of(*size), 'continuous')[0] for box, size in pairs]
        yield close(f'{name}_gt_box', found, arrays[f'out/{name}_gt_box'], 1e-9)
        labels = arrays[f'out/{name}_label']
        # The case has no names of folders; what can be said is that labels are 0-based and sorted.
        wrong = labels.min() != 0 or (np.diff(labels) < 0).any() or (np.diff(labels) > 1).any()
        yield Comparison(f'{name}_label is sorted from 0', float(wrong), 0.0)
    cfg, expected = Config.fromfile(CONFIGS['cub']), arrays['out/CUB_image_sub']
    images = [run.network_inputs(cfg, drawn_image(*size))[0] for size in arrays['in/CUB_size_wh']]
    step = images[0].shape[-1] // expected.shape[-1]
    # 2 of 255 levels over the smallest deviation: what versions of Pillow differ by.
    yield close('CUB_image_sub', np.stack(images)[..., ::step, ::step], expected, 2 / 255 / 0.225)
    compared = r'out/((CUB|IMNET)_(gt_box(_second_access)?|label)|CUB_image_sub)'
    for name in case.arrays:
        if name.startswith('out/') and not re.fullmatch(compared, name):
            yield failure(f'{name} (not checked)')


def geometry_of(width: int, height: int) -> ImageGeometry:
    """Return the geometry of an image that is resized to a shorter side of 256 and cropped."""
    short = min(width, height)
    resized = (width * SHORT_SIDE // short, height * SHORT_SIDE // short)
    return ImageGeometry((int(width), int(height)), resized, (CROP, CROP))


def drawn_image(width: int, height: int) -> NDArray:
    """Return the drawn image that the case describes."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    across = np.broadcast_to(x * 255 // max(1, width - 1), (height, width))
    down = np.broadcast_to(y * 255 // max(1, height - 1), (height, width))
    return np.stack([across, down, ((x // 7 + y // 5) % 2) * 200 + 20], axis=-1).astype(np.uint8)
