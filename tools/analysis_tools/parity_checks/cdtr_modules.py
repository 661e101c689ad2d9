"""Cases of CATR's and CDTR's parts alone: CSM, OCM with its losses, SKI and the deformable convolution."""

from collections.abc import Mapping

from wsol_mm.models.layers import CategoryStimulation, SemanticKernelIntegrator
from wsol_mm.models.layers.deformable_conv import deform_conv2d, deform_conv2d_in_pytorch
from wsol_mm.models.losses import MapAlignmentLoss
from wsol_mm.models.weights import OFFICIAL_METHODS
from wsol_mm.registry import MODELS
from wsol_mm.structures import TokenFeatures

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from . import Case, Comparison, close, register
from .cdtr_arrays import Found, compare_all, official_arrays, tolerance_of
from .model_runs import recorded
from .reference_weights import reference_state


@register('cdtr', lambda case: 'in/attn' in case.arrays)
def check_csm(case: Case) -> list[Comparison]:
    """Compare the CSM in training, and in evaluation with the statistics before and after that."""
    args = case.meta['model_args']
    csm = CategoryStimulation(args['c_in'], args['num_classes'], args['c_base'])
    load_part(csm, case, 'head.csm.')
    labels = torch.from_numpy(case.arrays['in/label'])
    found = csm_outputs(csm.eval(), case, 'eval_')
    attention = torch.from_numpy(case.arrays['in/attn']).requires_grad_()
    with recorded({'encoder': csm.encoder}) as seen:
        decoded = csm.train()(attention)
    logits = csm.pooled(decoded)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    found |= {
        'out/train_encoder': seen['encoder'],
        'out/train_decoder': decoded,
        'out/train_map': csm.maps(decoded),
        'out/train_logits': logits,
        'out/train_loss': loss,
        'grad/in_attn': attention.grad,
    }
    found |= part_arrays(csm, case, 'head.csm.')
    found |= csm_outputs(csm.eval(), case, 'eval_after_')
    every = torch.arange(args['num_classes']).expand(len(labels), -1)
    chosen = csm.class_maps(decoded, every)
    name = 'out/train_map'
    return [
        *compare_all(case, found),
        close(f'{name} class by class', chosen.detach(), case.arrays[name], tolerance_of(case, name)),
    ]


def csm_outputs(csm: CategoryStimulation, case: Case, prefix: str) -> Found:
    """Return the CSM's outputs in evaluation, under names with a prefix."""
    with torch.no_grad(), recorded({'encoder': csm.encoder}) as seen:
        decoded = csm(torch.from_numpy(case.arrays['in/attn']))
        arrays = {'encoder': seen['encoder'], 'decoder': decoded, 'map': csm.maps(decoded)}
    return {f'out/{prefix}{name}': value for name, value in arrays.items()}


@register('cdtr', lambda case: 'in/attn_rows' in case.arrays)
def check_ocm(case: Case) -> list[Comparison]:
    """Compare the OCM and its two losses, with their gradients, as CATR's head puts them together."""
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
    rows = torch.from_numpy(case.arrays['in/attn_rows']).requires_grad_()
    grid = case.arrays['out/attn_map'].shape[-2:]
    patches = rows.new_zeros(rows.shape[1], 1, *grid)
    feats = TokenFeatures(patches, patches[:, :, 0, 0], attention=rows.transpose(0, 1))
    found = {f'out/eval_{name}': value for name, value in ocm_outputs(head.eval(), feats).items()}
    head.train()
    with recorded({'map': head.ocm, 'catconv': head.ocm.fuse_conv}) as seen:
        losses = head.constraint_losses(feats, head.attention_rows(feats))
    for name, loss in losses.items():
        head.zero_grad()
        rows.grad = None
        loss.backward(retain_graph=True)
        found[f'grad_{name}/in_attn_rows'] = rows.grad
        found |= part_arrays(head.ocm, case, 'head.ocm.', f'grad_{name}/')
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
        **{f'out/loss_{name}': loss for name, loss in losses.items()},
    }
    return compare_all(case, found)


def ocm_outputs(head: nn.Module, feats: TokenFeatures) -> dict[str, Tensor]:
    """Return the OCM's outputs in evaluation."""
    with torch.no_grad(), recorded({'catconv': head.ocm.fuse_conv}) as seen:
        rows = head.attention_rows(feats)
        maps = head.ocm(rows[:, : head.ocm.branch_conv.in_channels])
    return {'blocks': seen['catconv input'], 'catconv': seen['catconv'], 'map': maps[:, None]}


@register('cdtr', lambda case: 'in2/offset' in case.arrays or 'in/csm_map' in case.arrays)
def check_ski(case: Case) -> list[Comparison]:
    """Compare the SKI, its pooled form too, its initial weights, and the deformable convolution."""
    results: list[Comparison] = []
    found: Found = {}
    if 'in/csm_map' in case.arrays:
        results += check_initial_weights(case)
        found |= run_ski(case, pooled=False)
        for name, value in run_ski(case, pooled=True).items():
            if name in case.arrays:
                results.append(close(f'pooled {name}', value, case.arrays[name], tolerance_of(case, name)))
    if 'in2/offset' in case.arrays:
        found |= run_convolution(case, deform_conv2d)
        for name, value in run_convolution(case, deform_conv2d_in_pytorch).items():
            results.append(close(f'{name} (PyTorch)', value, case.arrays[name], tolerance_of(case, name)))
    return results + compare_all(case, found)


def run_ski(case: Case, pooled: bool) -> dict[str, np.ndarray]:
    """Return outputs and gradients of the SKI, by its maps or by the form that needs none."""
    args = case.meta['model_args']
    if (args['in_channels'], args['kernel'], args['padding'], args['bias']) != (
        args['out_channels'],
        3,
        1,
        False,
    ):
        raise ValueError(f'{case.name}: the SKI here has a 3x3 kernel without bias, found {args}')
    ski = SemanticKernelIntegrator(args['in_channels'])
    load_part(ski, case, 'head.ski.', 'dnc_att_layer.')
    inputs = {
        name: torch.from_numpy(case.arrays[f'in/{name}']).requires_grad_()
        for name in ('csm_map', 'head_map', 'attn_map')
    }
    offsets = ski.offsets(inputs['head_map'], inputs['attn_map'].squeeze(1))
    found = {'out/offset': offsets}
    if pooled:
        logits = ski.pooled(inputs['csm_map'], offsets)
    else:
        found['out/deform'] = ski(inputs['csm_map'], offsets)
        logits = found['out/deform'].mean(dim=(2, 3))
    loss = F.cross_entropy(logits, torch.from_numpy(case.arrays['in/label']))
    loss.backward()
    found |= {'out/logits': logits, 'out/loss': loss}
    found |= {f'grad/in_{name}': value.grad for name, value in inputs.items()}
    found |= part_arrays(ski, case, 'head.ski.', owner='dnc_att_layer.')
    return {name: value.detach().numpy() for name, value in found.items()}


def run_convolution(case: Case, convolution) -> dict[str, np.ndarray]:
    """Return result and gradients of a deformable convolution.

    At integer positions an offset has two derivatives, of which either will do: there, its gradient is the
    case's.
    """
    inputs = {
        name: torch.from_numpy(case.arrays[f'in2/{name}']).requires_grad_()
        for name in ('x', 'offset', 'weight')
    }
    padding = (inputs['offset'].shape[-1] - inputs['x'].shape[-1] + 2) // 2
    y = convolution(*inputs.values(), padding)
    (y * torch.from_numpy(case.arrays['in2/grad_out'])).sum().backward()
    found = {'out2/y': y, **{f'grad2/{name}': value.grad for name, value in inputs.items()}}
    found = {name: value.detach().numpy() for name, value in found.items()}
    integer = case.arrays['in2/offset'] % 1 == 0
    found['grad2/offset'] = np.where(integer, case.arrays['grad2/offset'], found['grad2/offset'])
    return found


def check_initial_weights(case: Case) -> list[Comparison]:
    """Compare fresh weights with the bounds of the reference's."""
    stated = case.meta['initialisation']
    if not stated['conv_offset_weight_all_zero']:
        raise ValueError(f'{case.name}: the weights of the offsets are zero here, found {stated}')
    ski = SemanticKernelIntegrator(case.meta['model_args']['in_channels'])
    bounds = {'offset_conv.weight': 0.0, 'offset_conv.bias': stated['conv_offset_bias_bound']}
    bounds['weight'] = stated['deform_bound']
    results = []
    for name, parameter in ski.named_parameters():
        largest, bound = float(parameter.detach().abs().max()), bounds[name]
        # A uniform distribution hardly stays below half its bound.
        outside = not bound / 2 <= largest <= bound * (1 + 1e-6)
        results.append(Comparison(f'bound of the initial {name}', float(outside), 0.0))
    return results


def load_part(module: nn.Module, case: Case, ours: str, owner: str = '') -> None:
    """Fill a module with the case's weights, by the converter's table.

    Args:
        module: The module.
        case: The case.
        ours: What the module is called in a model here, with a dot.
        owner: What the reference calls it, with a dot, where the case's names are relative to it.
    """
    layout = OFFICIAL_METHODS['cdtr'].layouts[0]
    entries = layout.entries({f'{owner}{name}': value for name, value in reference_state(case).items()})
    unknown = [entry.name for entry in entries if entry.target is None]
    if unknown:
        raise ValueError(f'{case.name}: names that the converter does not know: {", ".join(unknown)}')
    module.load_state_dict({entry.target.removeprefix(ours): entry.value for entry in entries}, strict=True)


def part_arrays(module: nn.Module, case: Case, ours: str, prefix: str = 'grad/', owner: str = '') -> Found:
    """Return a module's gradients and its buffers after training under the names of the case."""
    gradients: Mapping[str, Tensor] = {
        f'{ours}{name}': value.grad for name, value in module.named_parameters() if value.grad is not None
    }
    buffers = {f'{ours}{name}': value.clone() for name, value in module.named_buffers()}
    return official_arrays(case, prefix, gradients, owner) | official_arrays(
        case, 'state_after/', buffers, owner
    )
