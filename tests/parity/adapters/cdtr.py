"""CATR and CDTR: models, outputs, losses, gradients, buffers and boxes; their parts alone."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.map_boxes import score_map
from wsol_mm.models.layers import CategoryStimulation, SemanticKernelIntegrator
from wsol_mm.models.layers.deformable_conv import deform_conv2d, deform_conv2d_in_pytorch
from wsol_mm.models.losses import MapAlignmentLoss
from wsol_mm.registry import MODELS

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import features as ft
from .. import models as run
from ..case import Case
from ..comparison import Comparison, Found
from ..engine import computes
from ..evaluators import boxes_and_iou
from .cdtr_clip import adapter_options, adapter_outputs, in_precision, loaded


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


# -------------------------------------------------------------------- parts alone


def part_arrays(case: Case, prefix: str, values: Mapping[str, Tensor], owner: str = '') -> Found:
    """Return tensors here under the names of those arrays of a case that start with ``prefix``.

    Args:
        case: The case.
        prefix: E.g. ``'state_after/'``.
        values: Tensors by their names here.
        owner: Official name of the module to which the names of the arrays are relative, with a dot.
    """
    listed = [name.removeprefix(prefix) for name in case.arrays if name.startswith(prefix)]
    names = run.our_names('cdtr', [owner + name for name in listed if not name.startswith('in_')])
    found = {}
    for official, ours in names.items():
        # What the reference stores in numbered parts is one tensor here.
        whole, _, index = ours.rstrip(']').partition('[')
        if whole in values:
            value = values[whole]
            value = value if not index or value.ndim == 0 else value[int(index) : int(index) + 1]
            found[prefix + official.removeprefix(owner)] = value.detach().clone()
    return found


def load_part(module: nn.Module, case: Case, ours: str, owner: str = '') -> None:
    """Fill a module with the case's weights, by the converter's table.

    Args:
        module: The module.
        case: The case.
        ours: What the module is called in a model here, with a dot.
        owner: What the reference calls it, with a dot, where the case's names are relative to it.
    """
    state = {f'{owner}{name}': value for name, value in case.state().items()}
    run.our_names('cdtr', state)  # raises for names that are not known
    entries = run.layout_of('cdtr').entries(state)
    module.load_state_dict({entry.target.removeprefix(ours): entry.value for entry in entries}, strict=True)


def trained_part(module: nn.Module, case: Case, ours: str, prefix: str = 'grad/', owner: str = '') -> Found:
    """Return a module's gradients and its buffers after training under the names of the case."""
    known = {f'{ours}{name}': one.grad for name, one in module.named_parameters() if one.grad is not None}
    buffers = {f'{ours}{name}': value for name, value in module.named_buffers()}
    return part_arrays(case, prefix, known, owner) | part_arrays(case, 'state_after/', buffers, owner)


def inputs_of(case: Case, dtype: torch.dtype, *names: str) -> list[Tensor]:
    """Return inputs of a case, which require gradients."""
    return [torch.from_numpy(case.arrays[name]).to(dtype).requires_grad_() for name in names]


@computes('cdtr', lambda case: 'in/attn' in case.arrays)
def compute_csm(case: Case, dtype: torch.dtype) -> Found:
    """The CSM in training, and in evaluation with the statistics before and after that."""
    args = case.meta['model_args']
    csm = CategoryStimulation(args['c_in'], args['num_classes'], args['c_base'])
    load_part(csm, case, 'head.csm.')
    csm.to(dtype)
    labels = case.labels()
    found = csm_outputs(csm.eval(), case, dtype, 'eval_')
    (attention,) = inputs_of(case, dtype, 'in/attn')
    with run.recorded({'encoder': csm.encoder}) as seen:
        decoded = csm.train()(attention)
    logits = csm.pooled(decoded)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    every = torch.arange(args['num_classes']).expand(len(labels), -1)
    found |= {
        'out/train_encoder': seen['encoder'],
        'out/train_decoder': decoded,
        'out/train_map': csm.maps(decoded),
        'out/train_map (class by class)': csm.class_maps(decoded, every),
        'out/train_logits': logits,
        'out/train_loss': loss,
        'grad/in_attn': attention.grad,
    }
    found |= trained_part(csm, case, 'head.csm.')
    return found | csm_outputs(csm.eval(), case, dtype, 'eval_after_')


def csm_outputs(csm: CategoryStimulation, case: Case, dtype: torch.dtype, prefix: str) -> Found:
    """Return the CSM's outputs in evaluation, under names with a prefix."""
    with torch.no_grad(), run.recorded({'encoder': csm.encoder}) as seen:
        decoded = csm(torch.from_numpy(case.arrays['in/attn']).to(dtype))
        arrays = {'encoder': seen['encoder'], 'decoder': decoded, 'map': csm.maps(decoded)}
    return run.prefixed(f'out/{prefix}', arrays)


@computes('cdtr', lambda case: 'in/attn_rows' in case.arrays)
def compute_ocm(case: Case, dtype: torch.dtype) -> Found:
    """The OCM and its two losses, with their gradients, as CATR's head puts them together."""
    args = case.meta['model_args']
    head = MODELS.build(
        dict(
            type='CATRHead',
            num_classes=2,
            in_channels=1,
            num_layers=args['layers'],
            num_heads=args['heads'],
            csm=None,
            ocm=dict(num_layers=args['K'], area_loss=dict(ratio=args['area_ratio'])),
        )
    )
    load_part(head.ocm, case, 'head.ocm.')
    head.to(dtype)
    (rows,) = inputs_of(case, dtype, 'in/attn_rows')
    grid = case.arrays['out/attn_map'].shape[-2:]
    feats = ft.features(rows.new_zeros(rows.shape[1], 1, *grid), class_attention=rows.transpose(0, 1))
    found = run.prefixed('out/eval_', ocm_outputs(head.eval(), feats))
    head.train()
    with run.recorded({'map': head.ocm, 'catconv': head.ocm.fuse_conv}) as seen:
        losses = head.constraint_losses(feats, head.attention_rows(feats))
    for name, loss in losses.items():
        head.zero_grad()
        rows.grad = None
        loss.backward(retain_graph=True)
        found[f'grad_{name}/in_attn_rows'] = rows.grad
        found |= trained_part(head.ocm, case, 'head.ocm.', f'grad_{name}/')
    attention = head.attention_map(feats).detach().requires_grad_()
    # The area loss lets the gradient through at the positions that it keeps.
    kept = torch.autograd.grad(head.area_loss(attention), attention)[0] > 0
    found |= {
        'out/train_blocks': seen['catconv input'],
        'out/train_catconv': seen['catconv'],
        'out/train_map': seen['map'][:, None],
        'out/attn_map': attention,
        'out/attn_map_masked': attention * kept,
        'out/threshold': (attention * kept).amax(dim=(1, 2)),
        'out/kept': kept.sum(dim=(1, 2)),
        'out/loss_map_paired': MapAlignmentLoss('sample')(seen['map'], attention),
        **run.prefixed('out/loss_', losses),
    }
    if dtype == torch.float64:
        # Positions at the threshold are equal in float32 sums alone.
        for name in ('out/attn_map_masked', 'out/kept', 'out/threshold', 'grad_area/in_attn_rows'):
            del found[name]
    return found


def ocm_outputs(head: nn.Module, feats: tuple) -> Found:
    """Return the OCM's outputs in evaluation."""
    with torch.no_grad(), run.recorded({'catconv': head.ocm.fuse_conv}) as seen:
        rows = head.attention_rows(feats)
        maps = head.ocm(rows[:, : head.ocm.branch_conv.in_channels])
    return {'blocks': seen['catconv input'], 'catconv': seen['catconv'], 'map': maps[:, None]}


@computes('cdtr', lambda case: 'in2/offset' in case.arrays or 'in/csm_map' in case.arrays)
def compute_ski(case: Case, dtype: torch.dtype) -> Found:
    """The SKI, its pooled form too, its initial weights, and the deformable convolution."""
    found: Found = {}
    if 'in/csm_map' in case.arrays:
        found |= initial_weights(case) | run_ski(case, dtype, '') | run_ski(case, dtype, ' (pooled)')
    if 'in2/offset' in case.arrays:
        found |= run_convolution(case, dtype, deform_conv2d, '')
        found |= run_convolution(case, dtype, deform_conv2d_in_pytorch, ' (PyTorch)')
    return found


def run_ski(case: Case, dtype: torch.dtype, way: str) -> Found:
    """Return outputs and gradients of the SKI, by its maps or by the form that needs none."""
    args = case.meta['model_args']
    if (args['in_channels'], args['kernel'], args['padding'], args['bias']) != (
        args['out_channels'],
        3,
        1,
        False,
    ):
        raise case.error('model_args', args, 'an SKI with a 3x3 kernel without bias')
    ski = SemanticKernelIntegrator(args['in_channels'])
    load_part(ski, case, 'head.ski.', 'dnc_att_layer.')
    ski.to(dtype)
    names = ('csm_map', 'head_map', 'attn_map')
    inputs = dict(zip(names, inputs_of(case, dtype, *(f'in/{name}' for name in names)), strict=True))
    offsets = ski.offsets(inputs['head_map'], inputs['attn_map'].squeeze(1))
    found = {'out/offset': offsets}
    if way:
        logits = ski.pooled(inputs['csm_map'], offsets)
    else:
        found['out/deform'] = ski(inputs['csm_map'], offsets)
        logits = found['out/deform'].mean(dim=(2, 3))
    loss = F.cross_entropy(logits, case.labels())
    loss.backward()
    found |= {'out/logits': logits, 'out/loss': loss}
    found |= {f'grad/in_{name}': value.grad for name, value in inputs.items()}
    found |= trained_part(ski, case, 'head.ski.', owner='dnc_att_layer.')
    return {f'{name}{way}': value.detach() for name, value in found.items()}


def run_convolution(case: Case, dtype: torch.dtype, convolution: Callable, way: str) -> Found:
    """Return result and gradients of a deformable convolution.

    At integer positions an offset has two derivatives, of which either will do: there, its gradient is the
    case's.
    """
    names = ('x', 'offset', 'weight')
    inputs = dict(zip(names, inputs_of(case, dtype, *(f'in2/{name}' for name in names)), strict=True))
    padding = (inputs['offset'].shape[-1] - inputs['x'].shape[-1] + 2) // 2
    y = convolution(*inputs.values(), padding)
    (y * torch.from_numpy(case.arrays['in2/grad_out']).to(dtype)).sum().backward()
    found = {'out2/y': y, **{f'grad2/{name}': value.grad for name, value in inputs.items()}}
    stored = torch.from_numpy(case.arrays['grad2/offset']).to(dtype)
    integer = torch.from_numpy(case.arrays['in2/offset'] % 1 == 0)
    found['grad2/offset'] = torch.where(integer, stored, found['grad2/offset'])
    return {f'{name}{way}': value for name, value in found.items()}


def initial_weights(case: Case) -> Found:
    """Compare fresh weights with the bounds of the reference's."""
    stated = case.meta['initialisation']
    if not stated['conv_offset_weight_all_zero']:
        raise case.error('initialisation', stated, 'weights of the offsets that are zero')
    ski = SemanticKernelIntegrator(case.meta['model_args']['in_channels'])
    bounds = {'offset_conv.weight': 0.0, 'offset_conv.bias': stated['conv_offset_bias_bound']}
    bounds['weight'] = stated['deform_bound']
    found: Found = {}
    for name, parameter in ski.named_parameters():
        largest, bound = float(parameter.detach().abs().max()), bounds[name]
        # A uniform distribution hardly stays below half its bound.
        outside = not bound / 2 <= largest <= bound * (1 + 1e-6)
        found[f'bound of {name}'] = Comparison(f'bound of the initial {name}', float(outside), 0.0)
    return found
