"""Parts of the convolutional methods alone: ADL, ACoL, SPG, and the batch augmentations HaS and CutMix."""

import random
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from wsol_mm.models.batch_augments import HideAndSeek
from wsol_mm.models.heads import ACoLHead
from wsol_mm.models.layers import AttentionDropout, scaled_maps
from wsol_mm.models.losses import SelfProducedGuidanceLoss, guidance_mask
from wsol_mm.structures import Features

import numpy as np
import torch
import torch.nn.functional as F
from mmpretrain.models.utils.batch_augments import CutMix, RandomBatchAugment
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import models as run
from ..case import Case
from ..comparison import Found
from ..engine import computes

SYSTEM = 'cnn_baselines'


def settings(case: Case, pattern: str, part: str | None = None) -> Any:
    """Return what the description states under a key that a pattern matches, or None.

    Args:
        case: The case.
        pattern: For whole keys.
        part: One of the numbered or named parts of the case, whose own settings come first: entries of
            ``cases``, or scalars ``in/<part>/<key>``.
    """
    places: list[Mapping] = []
    if part is not None:
        own = [entry for entry in case.meta.get('cases', ()) if str(entry.get('index')) == part]
        scalars = {
            name.split('/')[2]: array.tolist()
            for name, array in case.arrays.items()
            if name.startswith(f'in/{part}/') and array.ndim == 0
        }
        places += [*own, scalars]
    places += [case.meta[key] for key in ('method_arguments', 'arguments') if key in case.meta]
    found = (
        value for place in (*places, case.meta) for key, value in place.items() if re.fullmatch(pattern, key)
    )
    return next(found, None)


def required(case: Case, pattern: str, part: str | None = None) -> Any:
    """Return :func:`settings`, which must be there."""
    value = settings(case, pattern, part)
    if value is None:
        raise case.error(pattern, None, 'a setting')
    return value


def parts_of(case: Case, array: str) -> list[str]:
    """Return the parts of a case that give an array: ``''`` where it is given once for all."""
    return sorted(
        {
            match[1] or ''
            for name in case.arrays
            if (match := re.fullmatch(rf'(?:in|out)/(?:([^/]+)/)?{array}', name))
        }
    )


def given(case: Case, part: str, *names: str) -> Tensor | None:
    """Return an input of a part, or the one that all parts share."""
    paths = (f'in/{prefix}{name}' for name in names for prefix in (f'{part}/', ''))
    array = next((case.arrays[path] for path in paths if path in case.arrays), None)
    return None if array is None else torch.from_numpy(array)


def as_stored(case: Case, found: Found) -> Found:
    """Return values, scalars with an axis of length 1 where the case stores them so."""
    one = {name for name, array in case.arrays.items() if array.shape == (1,)}
    return {
        name: torch.as_tensor(value).reshape(1) if name in one else value for name, value in found.items()
    }


def exact_images(case: Case, name: str, expected: NDArray) -> NDArray:
    """Images, labels and boxes must be equal, the rest as the description states it."""
    stated = str(case.get('tolerance'))
    if expected.dtype.kind in 'iu' or name.endswith('/image') or re.match('equal|exact', stated):
        return np.asarray(0.0)
    if name.endswith('/lam') and (written := re.search(r'\blam (1e-\d+)', stated)):
        return np.asarray(float(written[1]))
    return np.asarray(float(re.findall(r'1e-\d+', stated)[-1]))


@computes(SYSTEM, lambda case: 'out/normalized' in case.arrays)
def compute_attention(case: Case, dtype: torch.dtype) -> Found:
    """Scaled maps, of all classes and of the labelled one."""
    maps = given(case, '', 'feature').to(dtype)
    scaled, labels = scaled_maps(maps), case.labels()
    chosen = maps[torch.arange(len(labels)), labels][:, None]
    return {'out/normalized': scaled, 'out/attention': scaled_maps(chosen)}


# -------------------------------------------------------------------- ADL


@contextmanager
def drawn(draws: list[float]) -> Iterator[None]:
    """Give attention dropout the numbers that it draws, in the order in which it runs."""
    numbers = iter(draws)

    def draw(layer: AttentionDropout, x: Tensor) -> Tensor:
        return torch.tensor(next(numbers), dtype=torch.float64)

    with mock.patch.object(AttentionDropout, 'draw', draw):
        yield


@computes(
    SYSTEM, lambda case: re.search(r'\bADL\b|attention-based dropout', case.prose) and parts_of(case, 'y')
)
def compute_adl(case: Case, dtype: torch.dtype) -> Found:
    """Output and gradient in training, and the output at test time."""
    found: Found = {}
    for part in parts_of(case, 'y'):
        layer = AttentionDropout(
            required(case, r'(adl_)?drop_rate', part), required(case, r'(adl_(drop_)?)?threshold', part)
        )
        x = given(case, part, 'x').to(dtype).requires_grad_()
        with drawn([required(case, r'(uniform_)?draw', part)]):
            y = layer(x)
        (y * given(case, part, 'w', 'grad_out').to(dtype)).sum().backward()
        attention = layer.attention(x)
        importance = attention.sigmoid()
        values = dict(attention=attention, drop_mask=layer.drop_mask(attention), y=y, y_eval=layer.eval()(x))
        values |= dict(importance=importance, importance_map=importance)
        found |= run.prefixed(f'out/{part}/', values) | {f'grad/{part}/x': x.grad}
    return found


# -------------------------------------------------------------------- ACoL


@computes(SYSTEM, lambda case: 'state/classifier_A.0.weight' in case.arrays)
def compute_acol(case: Case, dtype: torch.dtype) -> Found:
    """Both branches on given features: maps, logits, losses and gradients."""
    shapes = case.shapes
    names = run.our_names('acol', shapes)
    hidden, channels = shapes['classifier_A.0.weight'][:2]
    found: Found = {}
    for part in parts_of(case, 'logits'):
        threshold = required(case, r'((acol_)?drop_)?threshold', part)
        head = ACoLHead(shapes['classifier_A.4.weight'][0], channels, (hidden, hidden), threshold)
        state = {names[name].removeprefix('head.'): value for name, value in case.state().items()}
        head.load_state_dict(state, strict=True)
        head.to(dtype)
        feature = given(case, part, 'feature').to(dtype).requires_grad_()
        feats = head.prepare(Features(feature))
        logits = head(feats)
        labels = given(case, part, 'labels_used')
        if labels is None:
            labels = logits.argmax(dim=1) if 'no' in part else given(case, part, 'label', 'labels')
        values, total = run_acol(head, feats, labels, given(case, part, 'label', 'labels'))
        total.backward()
        found |= as_stored(case, run.prefixed(f'out/{part}/', values))
        gradients = {name: parameter.grad for name, parameter in head.named_parameters()}
        found |= {
            f'grad/{part}/{name}': gradients[ours.removeprefix('head.')] for name, ours in names.items()
        }
        found[f'grad/{part}/feature'] = feature.grad
    if (constant := given(case, 'const', 'map')) is not None:
        found['out/const/normalized'] = scaled_maps(constant.to(dtype))
    return found


def run_acol(head: ACoLHead, feats: Features, erased: Tensor, labels: Tensor | None) -> tuple[Found, Tensor]:
    """Return all outputs when the maps of the labels ``erased`` are, and the loss of the labels."""
    attention = head.attention(feats, erased[:, None])
    hidden = head.hidden_b(feats, attention)
    logits, logits_b = head(feats), head.semantic_conv_b.pooled(hidden)
    labels = erased if labels is None else labels
    total = F.cross_entropy(logits, labels) + F.cross_entropy(logits_b, labels)
    kept, maps_b = head.kept(attention), head.semantic_conv_b(hidden)
    cams = head.localization_maps(feats, labels[:, None])[:, 0]
    if not torch.equal(erased, labels):  # what the reference makes of the label's map then
        both = torch.maximum(scaled_maps(head.semantic_conv_a(head.hidden_a(feats))), scaled_maps(maps_b))
        cams = both[torch.arange(len(labels)), labels]
    values = {
        'feat_map_a': head.semantic_conv_a(head.hidden_a(feats)),
        'feat_map_b': maps_b,
        'logits': logits,
        'logit_b': logits_b,
        'attention': attention,
        'keep_mask': kept.to(logits.dtype),
        'erased_feature': feats.feature_map * kept,
        'cam': cams,
        'loss': total,
    }
    return values, total


# -------------------------------------------------------------------- SPG

#: Side of the masks in the reference, whatever the images have.
MASK_SIDE = 224


def every_pixel(case: Case, name: str, maps: Tensor) -> Tensor:
    """Return every N-th pixel of maps, from the start that the meaning of an array tells."""
    written = re.search(r'every (\d+)', case.meaning(name))
    start = re.search(r'start (\d+)', case.meaning(name))
    first = int(start[1]) if start else 0
    return maps[..., first :: int(written[1]), first :: int(written[1])] if written else maps


def guides_of(
    guidance: nn.Module, class_map: Tensor, b1: Tensor, b2: Tensor, side: int
) -> tuple[Tensor, ...]:
    """Return the maps that masks are made of, enlarged."""
    enlarged = (F.interpolate(x, (side, side), mode='bilinear') for x in (class_map, b1, b2))
    return guidance.guides(*enlarged)


@computes(
    SYSTEM, lambda case: any(name.endswith('logits_b1') and name.startswith('in/') for name in case.arrays)
)
def compute_spg(case: Case, dtype: torch.dtype) -> Found:
    """The three terms on given branches, with their masks and gradients."""
    found: Found = {}
    inputs = ('feat_map', 'logits_b1', 'logits_b2', 'logits_c')
    for part in parts_of(case, 'loss_cls'):
        thresholds = settings(case, 'thresholds.*', part)
        if thresholds is None:
            thresholds = given(case, part, 'thresholds').tolist()
        guidance = SelfProducedGuidanceLoss(
            [*thresholds.values()] if isinstance(thresholds, dict) else thresholds
        )
        tensors = [given(case, part, name).to(dtype).requires_grad_() for name in inputs]
        maps, b1, b2, c = tensors
        labels = given(case, part, 'label', 'labels')
        class_map = maps[torch.arange(len(labels)), labels][:, None]
        terms = guidance(class_map, b1, b2, c, (MASK_SIDE, MASK_SIDE))
        values = {'loss_cls': F.cross_entropy(maps.mean(dim=(2, 3)), labels)}
        values |= {
            'loss_b2_att': terms['loss_b2'],
            'loss_b1_b2': terms['loss_b1'],
            'loss_c_fused': terms['loss_c'],
        }
        values['loss'] = sum(values.values())
        values['loss'].backward()
        values['loss_b2_attention'] = values['loss_b2_att']
        guides = guides_of(guidance, class_map.detach(), b1, b2, MASK_SIDE)
        masks = [guidance_mask(guide, *pair) for guide, pair in zip(guides, guidance.thresholds, strict=True)]
        for names in (
            ('mask_attention', 'mask_b2', 'mask_fused'),
            ('mask_b2_att', 'mask_b1_b2', 'mask_c_fused'),
        ):
            values |= dict(zip(names, masks, strict=True))
        found |= as_stored(case, run.prefixed(f'out/{part}/', values))
        found |= {f'grad/{part}/{name}': tensor.grad for name, tensor in zip(inputs, tensors, strict=True)}
        for name, guide in (('attention', guides[0]), ('fused_attention', guides[2])):
            for full in (f'out/{part}/{name}', f'out/{part}/{name}_sub', f'out/{name}_sub'):
                found[full] = every_pixel(case, full, guide)
    return found


# -------------------------------------------------------------------- batch augmentations


def hide(augment: HideAndSeek, images: Tensor, draws: Tensor) -> Tensor:
    """Hide the cells that the reference hides.

    Its loops take the width for the rows and the height for the columns, and end both at the height. In what
    they reach of an image that is not square the cells are ours.

    Args:
        augment: Ours.
        images: (B, 3, H, W), left alone.
        draws: In the order in which the reference draws.
    """
    images, size = images.clone(), augment.grid_size
    height, width = images.shape[-2:]
    if not size:
        return augment(images, torch.zeros(len(images), 1))[0]
    reached = images[:, :, : -(-width // size) * size, :height]
    rows, columns = augment.grid(*reached.shape[-2:])
    draws = draws.view(len(images), -(-width // size), -(-height // size))
    augment.hide(reached, draws[:, :rows, :columns])
    return images


@computes(
    SYSTEM,
    lambda case: re.search(r'\bHaS\b|Hide-and-Seek', case.prose) and parts_of(case, 'draws'),
    exact_images,
)
def compute_has(case: Case, dtype: torch.dtype) -> Found:
    """Images with hidden cells, for given draws and for a seed."""
    found: Found = {}
    for part in parts_of(case, 'draws'):
        augment = HideAndSeek(
            required(case, '(has_)?grid_size', part), required(case, '(has_)?drop_rate', part)
        )
        found[f'out/{part}/image'] = hide(augment, given(case, part, 'image'), given(case, part, 'draws'))
    for name in case.listed():
        if seeded := re.fullmatch(r'out/seed(\d+)_grid(\d+)_rate([\d.]+)/keep', name):
            random.seed(int(seeded[1]))
            images = torch.ones(case.arrays[name].shape)[:, None]
            augment = HideAndSeek(int(seeded[2]), float(seeded[3]))
            shape = (len(images), *augment.grid(*images.shape[-2:]))
            draws = torch.tensor([random.random() for _ in range(np.prod(shape))], dtype=torch.float64)
            found[name] = hide(augment, images, draws)[:, 0].to(torch.uint8)
    return found


@contextmanager
def mixed_by(share: float, centre: tuple[int, int], order: list[int]) -> Iterator[None]:
    """Give mmpretrain's CutMix the numbers that it draws."""
    with ExitStack() as stack:
        for name, values in (('beta', [share]), ('randint', list(centre))):
            stack.enter_context(mock.patch.object(np.random, name, side_effect=values))
        stack.enter_context(mock.patch.object(torch, 'randperm', return_value=torch.tensor(order)))
        yield


def cut_and_mix(
    images: Tensor, labels: Tensor, num_classes: int, drawn: tuple
) -> tuple[Tensor, Tensor, tuple, float]:
    """Return mixed images and labels, the box (row, row, column, column), and the share of the own image."""
    augment = CutMix(alpha=1.0)
    share, centre, order = drawn
    with mixed_by(share, centre, order):
        box, own = augment.cutmix_bbox_and_lam(images.shape[-2:], share)
    with mixed_by(share, centre, order):
        images, scores = augment(images.clone(), F.one_hot(labels, num_classes))
    return images, scores, box, own


@computes(SYSTEM, lambda case: 'CutMix' in case.prose and parts_of(case, 'target_a'), exact_images)
def compute_cutmix(case: Case, dtype: torch.dtype) -> Found:
    """Mixed images, labels and losses, for given numbers and for a seed."""
    found: Found = {}
    for part in parts_of(case, 'target_a'):
        images, labels = given(case, part, 'image').to(dtype), given(case, part, 'target')
        order, centre = given(case, part, 'perm'), given(case, part, 'center')
        order = required(case, 'permutation', part) if order is None else order.tolist()
        if centre is None:
            centre = tuple(required(case, pattern, part) for pattern in ('cx_.*', 'cy_.*'))
        centre = tuple(map(int, centre))
        share = required(case, 'beta_draw|lam_drawn', part)
        logits, weights = given(case, part, 'logits'), case.arrays.get('in/W')
        num_classes = logits.shape[1] if weights is None else len(weights)
        mixed, scores, box, own = cut_and_mix(images, labels, num_classes, (share, centre, order))
        mixed.requires_grad_()
        if weights is not None:
            logits = mixed.mean(dim=(2, 3)) @ torch.from_numpy(weights).to(dtype).T
        # The head's classification loss takes the mixed labels.
        loss = F.cross_entropy(logits.to(dtype), scores.to(dtype))
        values = dict(image=mixed, target_a=labels, target_b=labels[order], logits=logits, loss=loss)
        values |= dict(lam=own, bbox=np.array(box)[[0, 2, 1, 3]])
        if weights is not None:
            loss.backward()
            middle = images.shape[2] // 2
            found[f'grad/{part}/image_center_pixel'] = mixed.grad[:, :, middle, middle]
        found |= as_stored(case, run.prefixed(f'out/{part}/', values))
    for name in case.listed():
        if seeded := re.fullmatch(r'out/(seed(\d+)_beta([\d.]+))/lam', name):
            found |= run.prefixed(
                f'out/{seeded[1]}/', seeded_cutmix(case, seeded[1], int(seeded[2]), float(seeded[3]))
            )
    return found


def seeded_cutmix(case: Case, part: str, seed: int, beta: float) -> Found:
    """Return what mmpretrain draws and mixes after the global seeds."""
    order = case.arrays[f'out/{part}/target_b']
    written = re.search(r'randint\((\d+)\)', case.prose)
    side = int(written[1]) if written else MASK_SIDE
    images = (
        torch.arange(len(order), dtype=torch.float32)[:, None, None, None].expand(-1, 1, side, side).clone()
    )
    np.random.seed(seed)
    torch.manual_seed(seed)
    cutmix = CutMix(alpha=beta)
    calls = {
        'beta': (np.random, 'beta'),
        'box': (cutmix, 'cutmix_bbox_and_lam'),
        'order': (torch, 'randperm'),
    }
    centre: list[int] = []
    original = np.random.randint

    def randint(*args: Any, **kwargs: Any) -> int:
        centre.append(original(*args, **kwargs))
        return centre[-1]

    with run.recorded_calls(calls) as made, mock.patch.object(np.random, 'randint', randint):
        mixed, scores = RandomBatchAugment(cutmix, probs=1.0)(images.clone(), torch.eye(len(order)))
    box, own = made['box'][1]
    partner = made['order'][1]
    assert torch.allclose(scores, own * torch.eye(len(order)) + (1 - own) * torch.eye(len(order))[partner])
    rows, columns = (mixed[0, 0] != images[0, 0]).nonzero().unbind(dim=1)
    pasted = [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]
    assert [int(side) for side in pasted] == [int(side) for side in box]
    return {
        'apply_draw': np.random.RandomState(seed).rand(1),
        'lam_drawn': made['beta'][1],
        'center': np.array(centre),
        'target_b': partner,
        'lam': np.asarray(own),
        'pasted_rows_cols': np.array(pasted),
    }
