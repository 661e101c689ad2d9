"""Cases of CATR's and CDTR's models: outputs, intermediates, losses, gradients, buffers and boxes."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import ConstantMapError
from wsol_mm.evaluation.map_boxes import empty_map_iou, localization_map_iou, score_map
from wsol_mm.models.clip.loading import load_clip
from wsol_mm.models.losses import MapAlignmentLoss
from wsol_mm.models.weights import convert_state_dict
from wsol_mm.registry import MODELS
from wsol_mm.structures import TokenFeatures

import numpy as np
import torch
from torch import Tensor, nn

from . import Case, Comparison, register
from .cdtr_arrays import Found, compare_all, official_arrays
from .cdtr_clip import adapter_options, adapter_outputs
from .model_runs import quiet, recorded, recorded_calls, samples_of
from .reference_weights import reference_images, reference_state

FRAME = (224, 224)


@dataclass(frozen=True)
class Variant:
    """What the code of the reference fixes for a data set (CDTR, table 2.0).

    Attributes:
        area_ratio: Share of the positions in the area loss.
        normalize_map: Whether the map that the SBA gets is normalised.
        map_scale: What the localization maps are multiplied with; boxes do not depend on it.
    """

    area_ratio: float
    normalize_map: bool
    map_scale: float


VARIANTS = {'cub': Variant(0.25, False, 1.0), 'imnet': Variant(0.10, True, 0.5)}


@register('cdtr', lambda case: 'config' in case.meta and case.meta.get('mode') in ('train', 'eval'))
def check_model(case: Case) -> list[Comparison]:
    """Compare every array of a model in training or evaluation."""
    run = run_train if case.meta['mode'] == 'train' else run_eval
    with loaded_model(case) as model:
        found = run(model, case)
    return compare_all(case, subset_of_classes(case, found))


def variant_of(case: Case) -> tuple[str, Variant]:
    """Return the method of a case, ``catr`` or ``cdtr``, and the variant for its data set.

    Raises:
        ValueError: If either is not known.
    """
    method, _, data = case.meta['config'].partition('_')
    if method not in ('catr', 'cdtr') or data not in VARIANTS:
        raise ValueError(
            f'{case.name}: config must be catr or cdtr for one of {tuple(VARIANTS)}, found '
            f'{case.meta["config"]!r}'
        )
    return method, VARIANTS[data]


@contextmanager
def loaded_model(case: Case) -> Iterator[nn.Module]:
    """Give the model of a case with its weights, through the converter."""
    method, variant = variant_of(case)
    args, state = case.meta['model_args'], reference_state(case)
    width = args['embed_dim']
    arch = dict(
        embed_dims=width,
        num_layers=args['depth'],
        num_heads=args['num_heads'],
        feedforward_channels=int(width * args['mlp_ratio']),
    )
    patch = state['patch_embed.proj.weight'].shape[-1]
    backbone = dict(
        type='TokenVisionTransformer',
        arch=arch,
        img_size=args.get('img_size', tuple(reference_images(case).shape[-2:])),
        patch_size=args.get('patch_size', patch),
        qkv_bias=args.get('qkv_bias', True),
        norm_cfg=dict(type='LN', eps=args.get('layer_norm_eps', 1e-6)),
        drop_rate=args['drop_rate'],
        drop_path_rate=args['drop_path_rate'],
    )
    constrained = [name for name in state if re.fullmatch(r'block\d+\.0\.weight', name)]
    head = dict(
        type=f'{method.upper()}Head',
        num_classes=args['num_classes'],
        in_channels=width,
        num_layers=args['depth'],
        num_heads=args['num_heads'],
        csm=dict(base_channels=args['csm_c_base']),
        ocm=dict(num_layers=len(constrained), area_loss=dict(ratio=variant.area_ratio)),
    )
    with adapter_options(case) as options:
        if method == 'cdtr':
            head['sba'] = None if options is None else dict(options, normalize_map=variant.normalize_map)
        model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head))
        if method == 'cdtr' and options is not None:
            model.head.sba.num_classes = None  # the reference takes longer lists of names than classes
        with quiet():
            model.load_state_dict(convert_state_dict(method, state, case.name), strict=True)
        yield model


def run_train(model: nn.Module, case: Case) -> Found:
    """Return outputs, losses, gradients and buffers of one training step without optimizer."""
    model.train()
    head, labels = model.head, torch.from_numpy(case.arrays['in/label'])
    modules = {'backbone': model.backbone, **watched_modules(head)}
    calls = {'raw': (head, 'raw_losses'), 'cls_logits': (head, 'classification_losses')}
    calls['csm_logits'] = (head.csm, 'pooled')
    if hasattr(head, 'ski'):
        calls |= {'offsets': (head.ski, 'offsets'), 'ski_logits': (head.ski, 'pooled_from')}
        calls['sba'] = (head.sba, 'forward')
    with recorded(modules) as seen, recorded_calls(calls) as called:
        losses = model(reference_images(case), samples_of(labels), mode='loss')
    total, raw = model.parse_losses(losses)[0], called['raw'][1]
    found = gradients(model, case, total, raw)
    found |= official_arrays(case, 'state_after/', dict(model.named_buffers()))
    with torch.no_grad():
        arrays = shared_outputs(model, seen)
        arrays |= {
            'cls_logits': called['cls_logits'][0][0],
            'csm_logits': called['csm_logits'][1],
            'loss_total': total,
            'loss_map_paired': MapAlignmentLoss('sample')(seen['ocm'], head.attention_map(seen['backbone'])),
            **{f'loss_{name}': value for name, value in raw.items()},
        }
        if 'ski_logits' in called:
            offsets = called['offsets'][1]
            arrays['ski_offset'] = offsets
            arrays['ski_deform'] = head.ski(arrays['csm_map'], offsets)
            arrays['ski_logits'] = called['ski_logits'][1]
            arrays['loss_awl'] = total - losses['loss_sba']
            (images, maps, classes), _ = called['sba']
            clip = load_clip(head.sba.clip.model, head.sba.clip.pretrained)
            arrays |= adapter_outputs(head.sba, clip, images, maps, classes)
    return found | {f'out/{name}': value for name, value in arrays.items()}


def gradients(model: nn.Module, case: Case, total: Tensor, raw: Mapping[str, Tensor]) -> Found:
    """Return the gradients of the sum of all losses, and of single ones (``grad_<loss>/``)."""
    parameters = dict(model.named_parameters())
    losses = {f'grad_{name}/': raw[name] for name in raw if getattr(raw[name], 'requires_grad', False)}
    found: Found = {}
    for prefix, loss in {'grad/': total, **losses}.items():
        if not any(name.startswith(prefix) for name in case.arrays):
            continue
        values = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
        known = {name: value for name, value in zip(parameters, values, strict=True) if value is not None}
        found |= official_arrays(case, prefix, known)
    return found


def watched_modules(head: nn.Module) -> dict[str, nn.Module]:
    """Return the parts of a head whose outputs are compared."""
    modules = {'csm': head.csm, 'csm.encoder': head.csm.encoder}
    return modules | {'ocm': head.ocm, 'ocm.fuse_conv': head.ocm.fuse_conv}


def shared_outputs(model: nn.Module, seen: Mapping[str, Tensor | tuple]) -> dict[str, Tensor]:
    """Return what training and evaluation both compute."""
    head, feats = model.head, seen['backbone']
    rows = feats.attention[..., 1:]
    return {
        'attn_cls': rows.transpose(0, 1),
        'tokens': feats.patch_map.flatten(2).transpose(1, 2),
        'attn_map': head.attention_map(feats),
        'head_map': head.semantic_conv(feats.patch_map),
        'csm_encoder': seen['csm.encoder'],
        'csm_decoder': seen['csm'],
        'csm_map': head.csm.maps(seen['csm']),
        'ocm_blocks': seen['ocm.fuse_conv input'],
        'ocm_catconv': seen['ocm.fuse_conv'],
        'ocm_map': seen['ocm'][:, None],
    }


def run_eval(model: nn.Module, case: Case) -> Found:
    """Return the test outputs, the predictions and their boxes."""
    model.eval()
    head, images = model.head, reference_images(case)
    scale = variant_of(case)[1].map_scale
    with torch.no_grad():
        with recorded({'backbone': model.backbone, **watched_modules(head)}) as seen:
            samples = model(images, mode='predict')
            feats: TokenFeatures = seen['backbone']
            rows = head.attention_rows(feats)
            head.ocm(rows[:, : head.ocm.branch_conv.in_channels])  # no prediction needs it
        every = torch.arange(head.num_classes).expand(len(images), -1)
        arrays: Found = shared_outputs(model, seen)
        arrays |= {
            'eval_logits': head(model.extract_feat(images)),
            'eval_cams': scale * head.localization_maps(feats, every),
            'eval_attn_all': scrambled(rows, head.num_layers, head.num_heads),
            'eval_feats': (arrays['head_map'] + arrays['csm_map']) / 2,
            'eval_top1': torch.cat([sample.pred_label for sample in samples]),
        }
        own = [sample.loc_maps[sample.loc_labels == sample.pred_label][0] for sample in samples]
        arrays['eval_cam_top1'] = scale * torch.stack(own)
    found = {f'out/{name}': value for name, value in arrays.items()}
    return found | evaluated(case, arrays['eval_cam_top1'].numpy())


def scrambled(rows: Tensor, layers: int, heads: int) -> Tensor:
    """Return attention (B, L*H, h, w), channel layer * H + head, with the axes that the reference mixes up.

    Entry i, j of its (B, L, H, h, w) is channel j * L + i: it splits the channels into H times L.
    """
    return rows.unflatten(1, (heads, layers)).transpose(1, 2)


def evaluated(case: Case, maps: np.ndarray) -> Found:
    """Return the boxes of the case's own maps, which must be equal, and enlarged maps of the model."""
    found: Found = {}
    for name in case.arrays:
        box = re.fullmatch(r'out/eval_boxes(?:_t(\d+))?', name)
        enlarged = re.fullmatch(r'out/eval_map_(\d+)_s(\d+)', name)
        if box is not None:
            threshold = int(box[1]) / 100 if box[1] else case.meta['threshold']
            found[name] = predicted_boxes(case.arrays['out/eval_cam_top1'], threshold)
        elif enlarged is not None:
            side, step = int(enlarged[1]), int(enlarged[2])
            scores = [score_map(one, (side, side), get_protocol('cdtr')) for one in maps]
            found[name] = np.stack(scores)[:, ::step, ::step]
    return found


def predicted_boxes(maps: np.ndarray, threshold: float) -> np.ndarray:
    """Return the box of every map, (B, 4)."""
    protocol, whole = get_protocol('cdtr', thresholds=(threshold,)), np.array([[0, 0, *FRAME]])
    boxes = []
    for one in maps:
        try:
            result = localization_map_iou(one, whole, FRAME, protocol)
        except ConstantMapError:
            result = empty_map_iou(whole, FRAME, protocol)
        boxes.append(result.boxes[0])
    return np.stack(boxes)


def subset_of_classes(case: Case, found: Found) -> Found:
    """Return the arrays with those classes that the case keeps of its maps.

    Raises:
        ValueError: If the case says it in other words.
    """
    text = case.meta.get('class_subset')
    if text is None:
        return found
    match = re.fullmatch(r'maps with a class axis keep every (\d+)(?:st|nd|rd|th) class', text)
    if match is None:
        raise ValueError(f'{case.name}: class_subset is not understood: {text!r}')
    step = int(match[1])
    maps = ('head_map', 'csm_decoder', 'csm_map', 'ski_deform', 'eval_cams', 'eval_feats')
    kept = {f'out/{name}' for name in maps}
    return {name: value[:, ::step] if name in kept else value for name, value in found.items()}
