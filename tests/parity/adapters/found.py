"""FOUND: background discovery, bilateral solver, decoder with its losses and boxes."""

import re
from collections.abc import Sequence

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional.bilateral_solver import bilateral_solver, solved_components
from wsol_mm.evaluation.map_boxes import score_map, score_map_boxes
from wsol_mm.models.heads import FOUNDHead
from wsol_mm.models.layers import PseudoMasks, background_discovery
from wsol_mm.structures import Features

import numpy as np
import torch
from mmpretrain.structures import DataSample
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import models as run
from ..case import Case
from ..comparison import Comparison, close, equal
from ..engine import checks


def patches(case: Case, name: str, dim: int) -> Tensor:
    """Return the patches' part of an array, whatever tokens come before them."""
    height, width = (int(side) for side in case.arrays['in/grid'])
    array = torch.from_numpy(case.arrays[name]).float()
    return array.narrow(dim, array.shape[dim] - height * width, height * width)


def ours(case: Case, found: dict[str, tuple[object, object]]) -> list[Comparison]:
    """Compare what a case has; a tolerance of None asks for equality."""
    there = {name: value for name, value in found.items() if f'out/{name}' in case.arrays}
    return [
        equal(name, value, case.arrays[f'out/{name}'])
        if tolerance is None
        else close(name, value, case.arrays[f'out/{name}'], tolerance)
        for name, (value, tolerance) in there.items()
    ]


@checks('found', lambda case: 'in/class_attention' in case.arrays)
def check_background(case: Case) -> list[Comparison]:
    """Head weights, reference patch, cosines and masks."""
    attention, keys = patches(case, 'in/class_attention', 2), patches(case, 'in/keys', 1)
    grid = tuple(case.arrays['in/grid'])
    threshold = float(case.meta['th_bkg'])
    weighted = background_discovery(attention, keys, bool(case.get('apply_weights', True)))
    plain = background_discovery(attention, keys, apply_weights=False)
    weights = background_discovery(attention, keys).head_weights
    masks = [(found.cosine > threshold).float().unflatten(1, grid) for found in (weighted, plain)]
    return ours(
        case,
        {
            'background': (masks[0], None),
            'background_unweighted': (masks[1], None),
            'head_weights': (weights, 1e-5),
            'reference_patch': (weighted.reference, None),
            'cosine': (weighted.cosine, 1e-5),
        },
    )


def sigmas(case: Case) -> dict[str, float]:
    """Return the cell of the bilateral grid, as far as a case names it."""
    names = ('sigma_spatial', 'sigma_luma', 'sigma_chroma')
    return {name: value for name in names if (value := case.number(name)) is not None}


@checks('found', lambda case: 'in/target' in case.arrays)
def check_solver(case: Case) -> list[Comparison]:
    """Solved mask, its two binary forms, and the number of cells."""
    settings = {
        'smoothness': 'lam',
        'confidence': 'confidence',
        'iterations': 'cg_maxiter',
        'tolerance': 'cg_tol',
        'bistochastic_iterations': 'bistochastize_iterations',
    }
    options = {
        **sigmas(case),
        **{name: case.meta[theirs] for name, theirs in settings.items() if theirs in case.meta},
    }
    arrays = case.arrays
    solved = bilateral_solver(arrays['in/image'], arrays['in/target'].astype(np.float64), **options)
    results = ours(case, {'soft': (solved.soft, 1e-4), 'vertices': (solved.num_cells, None)})
    decided = np.abs(arrays['out/soft'] - 0.5) >= 1e-4
    for components in ('largest', 'all'):
        name = f'out/binary_{components}'
        if name in arrays:
            binary = solved_components(solved.soft, components)
            results.append(equal(name, binary[decided], arrays[name].astype(bool)[decided]))
    return results


class GivenMasks(PseudoMasks):
    """Masks that a case gives."""

    def __init__(self, masks: Tensor) -> None:
        super().__init__(threshold=0.5)
        self.masks = masks

    def forward(self, feats: Features, data_samples: Sequence[DataSample]) -> Tensor:
        return self.masks


def factor(case: Case, name: str, default: float) -> float:
    """Return the factor before the cross-entropy that a description names."""
    written = re.match(r'\s*(\d+(?:\.\d+)?)\s*\*\s*BCE', case.meaning(f'out/{name}'))
    return float(written[1]) if written else default


def build_head(case: Case) -> nn.Module:
    """Return a model of the head alone, with the weights of a case."""
    written = re.search(r'from iteration (\d+)', case.meaning('out/loss_phase2'))
    loss = dict(
        first_phase=int(written[1]) if written else 100,
        refined_weight=factor(case, 'loss_refined', 1.5),
        pseudo_weight=factor(case, 'loss_background', 1.0),
        self_weight=factor(case, 'loss_self', 4.0),
    )
    model = nn.Module()
    model.head = FOUNDHead(
        2,
        case.arrays['in/keys_map'].shape[1],
        pseudo_masks=dict(type='AttentionMasks'),
        mask_loss=loss,
        refinement=dict(type='BilateralRefinement', min_iou=float(case.get('use_iou', 0.5)), **sigmas(case)),
    )
    own = {name: value for name, value in model.state_dict().items() if 'decoder' not in name}
    weights = run.convert_state_dict('found', case.state(), case.name)
    model.load_state_dict({**own, **weights}, strict=True)
    return model


@checks('found', lambda case: 'in/keys_map' in case.arrays)
def check_decoder(case: Case) -> list[Comparison]:
    """Logits, masks, refinement, losses and gradients of both phases, boxes."""
    arrays, model = case.arrays, build_head(case)
    head = model.head
    keys, images = (torch.from_numpy(arrays[f'in/{name}']) for name in ('keys_map', 'image'))
    pixels = 255 * images
    extras = {'keys': keys.flatten(2).transpose(1, 2), 'pixels': pixels}
    feats = Features(keys, extras=extras)
    objects = torch.from_numpy(arrays['in/background']) < 0.5
    head.pseudo_masks = GivenMasks(objects)
    logits = head.mask_logits(feats)
    masks = logits.sigmoid() > 0.5
    refined, refined_count = head.refinement(masks[:, 0], pixels)
    pseudo, pseudo_count = head.refinement(objects, pixels)
    found: dict[str, tuple[object, object]] = {
        'pred_mask': (masks, None),
        'refined_pred': (refined, None),
        'refined_count': (refined_count, None),
        'pseudo': (pseudo, None),
        'pseudo_count': (pseudo_count, None),
        'boxes': (boxes(case, logits.detach().sigmoid().numpy()), None),
    }
    values: dict[str, Tensor] = {'logits': logits}
    results = []
    for phase, start in ((1, 0), (2, head.mask_loss.first_phase)):
        head._steps = start
        terms = {name: value for name, value in head.mask_losses(feats, []).items() if 'loss' in name}
        names = {'loss_pseudo': 'loss_background'}
        values |= {names.get(name, name): value for name, value in terms.items()}
        values[f'loss_phase{phase}'] = total = sum(terms.values())
        head.zero_grad()
        total.backward()
        for name in ('weight', 'bias'):
            key = f'grad/phase{phase}/decoder.{name}'
            if key in arrays:
                tolerance = 1e-4 * np.abs(arrays[key]).max() + 1e-7
                results.append(close(key, getattr(head.decoder, name).grad, arrays[key], tolerance))
    for name, value in values.items():
        if f'out/{name}' in arrays:
            found[name] = (value.detach(), 1e-5 + 1e-5 * np.abs(arrays[f'out/{name}']))
    return ours(case, found) + results


def boxes(case: Case, probabilities: NDArray) -> NDArray:
    """Return the boxes (B, 4) of the protocol, clipped to the image."""
    patch, protocol = int(case.meta['patch_size']), get_protocol('found')
    height, width = case.arrays['in/image_size']
    size = probabilities.shape[3] * patch, probabilities.shape[2] * patch
    found = np.concatenate(
        [score_map_boxes(score_map(loc_map[0], size, protocol), protocol) for loc_map in probabilities]
    )
    found[:, 2:] = np.minimum(found[:, 2:], (width, height))
    return found
