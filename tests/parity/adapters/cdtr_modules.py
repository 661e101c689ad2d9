"""The parts of CATR and CDTR alone: CSM, OCM, SKI and deformable convolution."""

from collections.abc import Callable, Mapping

from wsol_mm.models.layers import CategoryStimulation, SemanticKernelIntegrator
from wsol_mm.models.layers.deformable_conv import deform_conv2d, deform_conv2d_in_pytorch
from wsol_mm.models.losses import MapAlignmentLoss
from wsol_mm.registry import MODELS

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .. import features as ft
from .. import models as run
from ..case import Case
from ..comparison import Comparison, Found
from ..engine import computes


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
