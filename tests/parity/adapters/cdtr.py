"""CATR and CDTR: models, outputs, losses, gradients, buffers and boxes."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.map_boxes import score_map
from wsol_mm.models.losses import MapAlignmentLoss

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import features as ft
from .. import models as run
from ..case import Case
from ..comparison import Found
from ..engine import computes
from ..evaluators import boxes_and_iou
from .cdtr_clip import adapter_options, adapter_outputs, in_precision, loaded
from .cdtr_modules import part_arrays


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


@computes('cdtr', lambda case: case.has_model)
def compute_model(case: Case, dtype: torch.dtype) -> Found:
    """Every array of a model in training or evaluation."""
    if case.trains is None:
        raise case.error('mode', case.meta.get('mode'), '"train" or "eval"')
    with loaded_model(case, dtype) as model:
        return (run_train if case.trains else run_eval)(model, case, case.images().to(dtype))


def variant_of(case: Case) -> tuple[str, Variant]:
    """Return the method of a case, ``catr`` or ``cdtr``, and the variant for its data set.

    Raises:
        ValueError: If either is not known.
    """
    stated = case.meta.get('config')
    words = f'{stated or (case.get("architecture"), case.name)}'.lower().replace('ilsvrc', 'imnet')
    named = re.search(r'(catr|cdtr)\w*?_(cub|imnet)(?![a-z])', words)
    if named is None:
        raise case.error('config', stated, f'catr or cdtr with one of {tuple(VARIANTS)}')
    return named[1], VARIANTS[named[2]]


@contextmanager
def loaded_model(case: Case, dtype: torch.dtype) -> Iterator[nn.Module]:
    """Give the model of a case with its weights, through the converter."""
    method, variant = variant_of(case)
    found = case.architecture
    csm = next(
        shape for name, shape in case.shapes.items() if re.search(r'\.down\w*\.1\.UConv\.0\.weight', name)
    )
    constrained = [name for name in case.shapes if re.fullmatch(r'block\d+\.0\.weight', name)]
    head = dict(
        type=f'{method.upper()}Head',
        num_layers=found['depth'],
        num_heads=found['num_heads'],
        csm=dict(base_channels=csm[0] // 2),
        ocm=dict(num_layers=len(constrained), area_loss=dict(ratio=variant.area_ratio)),
    )
    with adapter_options(case) as options:
        if method == 'cdtr':
            head['sba'] = None if options is None else dict(options, normalize_map=variant.normalize_map)
        model = run.build_model(case, head)
        if method == 'cdtr' and options is not None:
            model.head.sba.num_classes = None  # the reference takes longer lists of names than classes
            in_precision(model.head.sba.clip, dtype)
        yield run.load(model, method, case).to(dtype)


def run_train(model: nn.Module, case: Case, images: Tensor) -> Found:
    """Return outputs, losses, gradients and buffers of one training step without optimizer."""
    model.train()
    head = model.head
    if (labels := case.labels()) is None:
        raise case.error('in/label', None, 'the labels of a training step')
    modules = {'backbone': model.backbone, **watched_modules(head)}
    calls = {'raw': (head, 'raw_losses'), 'cls_logits': (head, 'classification_losses')}
    calls['csm_logits'] = (head.csm, 'pooled')
    if hasattr(head, 'ski'):
        calls |= {'offsets': (head.ski, 'offsets'), 'ski_logits': (head.ski, 'pooled_from')}
        calls['sba'] = (head.sba, 'forward')
    with run.recorded(modules) as seen, run.recorded_calls(calls) as called:
        losses = model(images, run.samples_of(labels), mode='loss')
    total, raw = model.parse_losses(losses)[0], called['raw'][1]
    found = gradients(model, case, total, raw)
    found |= part_arrays(case, 'state_after/', dict(model.named_buffers()))
    with torch.no_grad():
        arrays = shared_outputs(model, seen)
        arrays |= {
            'cls_logits': called['cls_logits'][0][0],
            'csm_logits': called['csm_logits'][1],
            'loss_total': total,
            'loss_map_paired': MapAlignmentLoss('sample')(seen['ocm'], head.attention_map(seen['backbone'])),
            **run.prefixed('loss_', raw),
        }
        if 'ski_logits' in called:
            offsets = called['offsets'][1]
            arrays['ski_offset'] = offsets
            arrays['ski_deform'] = head.ski(arrays['csm_map'], offsets)
            arrays['ski_logits'] = called['ski_logits'][1]
            arrays['loss_awl'] = total - losses['loss_sba']
            clip = loaded(vars(head.sba.clip), images.dtype)
            arrays |= adapter_outputs(head.sba, clip, *called['sba'][0])
    return found | run.prefixed('out/', arrays)


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
        found |= part_arrays(case, prefix, known)
    return found


def watched_modules(head: nn.Module) -> dict[str, nn.Module]:
    """Return the parts of a head whose outputs are compared."""
    modules = {'csm': head.csm, 'csm.encoder': head.csm.encoder}
    return modules | {'ocm': head.ocm, 'ocm.fuse_conv': head.ocm.fuse_conv}


def shared_outputs(model: nn.Module, seen: Mapping) -> Found:
    """Return what training and evaluation both compute."""
    head, feats = model.head, seen['backbone']
    return {
        'attn_cls': ft.class_rows_of_heads(feats).transpose(0, 1),
        'tokens': ft.tokens_of(feats)[:, 1:],
        'attn_map': head.attention_map(feats),
        'head_map': head.semantic_conv(ft.feature_map(feats)),
        'csm_encoder': seen['csm.encoder'],
        'csm_decoder': seen['csm'],
        'csm_map': head.csm.maps(seen['csm']),
        'ocm_blocks': seen['ocm.fuse_conv input'],
        'ocm_catconv': seen['ocm.fuse_conv'],
        'ocm_map': seen['ocm'][:, None],
    }


def run_eval(model: nn.Module, case: Case, images: Tensor) -> Found:
    """Return the test outputs, the predictions and their boxes."""
    model.eval()
    head = model.head
    scale = variant_of(case)[1].map_scale
    with torch.no_grad():
        with run.recorded({'backbone': model.backbone, **watched_modules(head)}) as seen:
            samples = model(images, mode='predict')
            feats = seen['backbone']
            rows = head.attention_rows(feats)
            head.ocm(rows[:, : head.ocm.branch_conv.in_channels])  # no prediction needs it
        every = torch.arange(head.num_classes).expand(len(images), -1)
        arrays = shared_outputs(model, seen)
        arrays |= {
            'eval_logits': head(model.extract_feat(images)),
            'eval_cams': scale * head.localization_maps(feats, every),
            'eval_attn_all': scrambled(rows, head.num_layers, head.num_heads),
            'eval_feats': (arrays['head_map'] + arrays['csm_map']) / 2,
            'eval_top1': torch.cat([sample.pred_label for sample in samples]),
        }
        own = [sample.loc_maps[sample.loc_labels == sample.pred_label][0] for sample in samples]
        arrays['eval_cam_top1'] = scale * torch.stack(own)
    return run.prefixed('out/', arrays) | evaluated(case, arrays['eval_cam_top1'].numpy())


def scrambled(rows: Tensor, layers: int, heads: int) -> Tensor:
    """Return attention (B, L*H, h, w), channel layer * H + head, with the axes that the reference mixes up.

    Entry i, j of its (B, L, H, h, w) is channel j * L + i: it splits the channels into H times L.
    """
    return rows.unflatten(1, (heads, layers)).transpose(1, 2)


def evaluated(case: Case, maps: NDArray) -> Found:
    """Return the boxes of the case's own maps, which must be equal, and enlarged maps of the model."""
    found: Found = {}
    for name in case.arrays:
        box = re.fullmatch(r'out/eval_boxes(?:_t(\d+))?', name)
        enlarged = re.fullmatch(r'out/eval_map_(\d+)(?:_s\d+)?', name)
        if box is not None:
            threshold = int(box[1]) / 100 if box[1] else case.number('threshold')
            if threshold is None:
                raise case.error('threshold', None, 'that of out/eval_boxes')
            side = case.frame(default=case.image_sides[-1])
            found[name] = predicted_boxes(case.arrays['out/eval_cam_top1'], threshold, side)
        elif enlarged is not None:
            size = (int(enlarged[1]),) * 2
            # "_sN" keeps every N-th pixel, which the engine does
            found[re.sub(r'_s\d+$', '', name)] = np.stack(
                [score_map(one, size, get_protocol('cdtr')) for one in maps]
            )
    return found


def predicted_boxes(maps: NDArray, threshold: float, side: int) -> NDArray:
    """Return the box of every map, (B, 4)."""
    protocol, whole = get_protocol('cdtr', thresholds=(threshold,)), np.array([[0, 0, side, side]])
    return boxes_and_iou(protocol, maps, [whole] * len(maps), (side, side))[0][:, 0]
