"""The networks of the WSOL benchmark (CAM, HaS, ACoL, SPG, ADL, CutMix on three backbones)."""

import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wsol_mm.models.batch_augments import HideAndSeek
from wsol_mm.registry import MODELS

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import models as run
from ..case import Case
from ..comparison import Found
from ..description import NUMBER
from ..engine import computes
from .cnn_layers import (
    MASK_SIDE,
    SYSTEM,
    cut_and_mix,
    drawn,
    every_pixel,
    guides_of,
    hide,
    required,
    run_acol,
    settings,
)

ADL_PLACES = {
    'vgg': ('backbone.pool3', 'backbone.relu4_3', 'backbone.relu5_3'),
    'resnet': ('backbone.layer3.0', 'backbone.layer4.0', 'backbone.layer4.2'),
    'inception': ('backbone.Mixed_5d', 'backbone.Mixed_6e', 'head.convs.1'),
}
SPG_STAGES = {
    'vgg': ('pool4', 'pool5'),
    'resnet': ('layer3.0', 'layer3'),
    'inception': ('maxpool3', 'Mixed_6d'),
}
MARKERS = {
    'features.0.weight': 'vgg',
    'layer1.0.conv1.weight': 'resnet',
    'Mixed_5b.branch1x1.conv.weight': 'inception',
}


def networks(case: Case) -> dict[str, Case]:
    """Return the networks of a case, each as a case of its own with weights and settings but no arrays."""
    models, found = case.meta['models'], {}
    for name, entry in models.items():
        if isinstance(entry.get('state'), str):  # "same names and shapes as the 14x14 model"
            other = re.search(r'(\d+(?:x\d+)?) model', entry['state'])
            base = models.get(re.sub(r'[^_]+$', other[1], name)) if other else None
            if base is None:
                raise case.error(
                    f'models.{name}.state', entry['state'], 'shapes, or "same ... as the N model"'
                )
            entry = {**entry, 'state': base['state'], 'norm_weights': base['norm_weights']}
        found[name] = replace(case, name=f'{case.name}: {name}', meta={**case.meta, **entry}, arrays={})
    return found


def network_of(shapes: Mapping) -> str:
    """Return the kind of network that has these weights."""
    return next(kind for marker, kind in MARKERS.items() if marker in shapes)


def method_of(network: Case, name: str) -> str:
    """Return the method of a network: as described, or as in its name, such as ``vgg16_adl_14x14``."""
    written = re.search(r'(?:^|_)(cam|acol|spg|adl)(?:_|$)', name)
    method = network.meta.get('architecture_type') or (written and written[1])
    if method not in ('cam', 'acol', 'spg', 'adl'):
        raise network.error('architecture_type', method, 'cam, acol, spg or adl')
    return method


def has_large_map(network: Case, name: str) -> bool:
    """Return whether the map has an eighth of the image's side: as described, or as named."""
    stated, written = network.meta.get('large_feature_map'), re.search(r'_(14|28)(x\d+)?$', name)
    if stated is None and written is None:
        raise network.error('large_feature_map', None, 'true or false')
    return stated if stated is not None else written[1] == '28'


def model_config(network: Case, name: str) -> dict[str, Any]:
    """Return the config of a network."""
    shapes, method, large = network.shapes, method_of(network, name), has_large_map(network, name)
    kind = network_of(shapes)
    return dict(
        type='ImageLocalizer',
        backbone=backbone_config(kind, shapes, method, large),
        head=head_config(kind, shapes, method, network),
        stages=SPG_STAGES[kind] if method == 'spg' else (),
        inserts=[
            dict(
                type='AttentionDropout',
                after=ADL_PLACES[kind],
                **dict(zip(('drop_rate', 'threshold'), adl_settings(network), strict=True)),
            )
        ]
        if method == 'adl'
        else [],
    )


def adl_settings(network: Case) -> tuple[float, float]:
    """Return drop rate and threshold."""
    both = settings(network, 'adl_drop_rate_threshold')
    return both or (required(network, 'adl_drop_rate'), required(network, 'adl_(drop_)?threshold'))


def backbone_config(kind: str, shapes: Mapping, method: str, large: bool) -> dict[str, Any]:
    """Return the config of a backbone."""
    if kind == 'inception':
        return dict(type='InceptionV3', output_stride=8 if large else 16)
    if kind == 'resnet':
        strides, base = (1, 2, 1 if large else 2, 1), shapes['conv1.weight'][0]
        return dict(
            type='mmpretrain.ResNet', depth=50, stem_channels=base, base_channels=base, strides=strides
        )
    pool, fourth = ('max3', 'max3_same') if method == 'acol' else ('max2', None)
    fourth = fourth if large else 'max3' if method == 'spg' else pool
    last = ('max3_same', 'avg3_same') if method == 'acol' else None
    return dict(
        type='VGG16', pools=(pool, pool, pool, fourth, last), base_channels=shapes['features.0.weight'][0]
    )


def head_config(kind: str, shapes: Mapping, method: str, network: Case) -> dict[str, Any]:
    """Return the config of a head, with the sizes that the weights tell."""

    def out(*names: str) -> tuple[int, ...]:
        return tuple(shapes[f'{name}.weight'][0] for name in names)

    def into(*names: str) -> tuple[int, ...]:
        return tuple(shapes[f'{name}.weight'][1] for name in names)

    if method == 'acol':
        return dict(
            type='ACoLHead',
            num_classes=out('classifier_A.4')[0],
            in_channels=into('classifier_A.0')[0],
            hidden_channels=out('classifier_A.0', 'classifier_A.2'),
            erase_threshold=required(network, 'acol_(drop_)?threshold'),
        )
    hidden = [
        name
        for name in ('conv6', 'SPG_A_3.0', 'SPG_A_3.2', 'SPG_A3_1b.0', 'SPG_A3_2b.0')
        if f'{name}.weight' in shapes
    ]
    classifier = next(name for name in ('fc', 'SPG_A_4', 'SPG_A4') if f'{name}.weight' in shapes)
    config = dict(
        type='CAMHead',
        num_classes=out(classifier)[0],
        in_channels=into(*hidden, classifier)[0],
        hidden_channels=out(*hidden),
    )
    if method != 'spg':
        return config | dict(classifier='linear' if classifier == 'fc' else 'conv')
    thresholds = required(network, 'spg_thresholds.*')
    return config | dict(
        type='SPGHead',
        stage_channels=into('SPG_B_1a.0', 'SPG_B_2a.0'),
        b_channels=out('SPG_B_1a.0')[0],
        c_channels=out('SPG_C.0')[0],
        guidance=dict(thresholds=thresholds),
        guidance_size=MASK_SIDE,
    )


# -------------------------------------------------------------------- runs


def run_network(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Found, Tensor, dict[str, Tensor]]:
    """Return all outputs in the model's mode, the total loss, and the terms of the loss."""
    head = model.head
    feats = head.prepare(model.extract_feat(images, head.loss_needs))
    losses = head.loss(feats, run.samples_of(labels))
    total = sum(value for name, value in losses.items() if name.startswith('loss'))
    found = {'logits': head(feats), 'loss': total}
    kind = type(head).__name__
    if kind == 'ACoLHead':
        values, _ = run_acol(head, feats, labels, labels)
        found |= {name: values[name] for name in ('logit_b', 'feat_map_a', 'feat_map_b')}
    elif kind == 'SPGHead':
        found |= dict(zip(('logits_b1', 'logits_b2', 'logits_c'), head.branches(feats), strict=True))
        terms = dict(loss_cls='loss_cls', loss_b2_att='loss_b2', loss_b1_b2='loss_b1', loss_c_fused='loss_c')
        found |= {theirs: losses[ours] for theirs, ours in terms.items()}
        class_map = head.localization_maps(feats, labels[:, None])
        first, _, last = guides_of(
            head.guidance, class_map, found['logits_b1'], found['logits_b2'], MASK_SIDE
        )
        found |= dict(attention_sub=first, fused_attention_sub=last)
    return found, total


def run_eval(model: nn.Module, images: Tensor, labels: Tensor) -> Found:
    """Return the outputs of a prediction, with the maps of the labels."""
    head = model.eval().head
    with torch.no_grad():
        found, _ = run_network(model, images, labels)
        feats = head.prepare(model.extract_feat(images, head.predict_needs))
        found['cam'] = head.localization_maps(feats, labels[:, None])[:, 0]
        if type(head).__name__ == 'ACoLHead':
            values, _ = run_acol(head, feats, found['logits'].argmax(dim=1), labels)
            found['logit_b_predicted_class'] = values['logit_b']
    return found


def run_train(network: Case, model: nn.Module, images: Tensor, labels: Tensor) -> Found:
    """Return the outputs of a training step, after the network's batch augmentation, and its gradients."""
    samples, more = images, {}
    if (augment := network.meta.get('augmentation')) == 'has':
        words = str(required(network, 'has'))
        size, rate = (re.search(rf'{word} ({NUMBER})', words)[1] for word in ('grid', 'rate'))
        generator = np.random.Generator(
            np.random.PCG64(zlib.crc32(re.search(r"crc32\('(.*?)'\)", words)[1].encode()))
        )
        has = HideAndSeek(int(size), float(rate))
        height, width = images.shape[-2:]
        cells = (len(images), -(-width // has.grid_size), -(-height // has.grid_size))
        samples = hide(has, images, torch.from_numpy(generator.random(cells)))
    elif augment == 'cutmix':
        words = str(required(network, 'cutmix'))
        share = float(re.search(rf'lam drawn ({NUMBER})', words)[1])
        centre = tuple(map(int, re.search(r'centre \((\d+), ?(\d+)\)', words).groups()))
        order = [int(index) for index in re.search(r'perm \[([\d, ]+)\]', words)[1].split(',')]
        samples, scores, _, own = cut_and_mix(images, labels, model.head.num_classes, (share, centre, order))
        more['lam'] = own
    elif augment is not None:
        raise network.error('augmentation', augment, 'has, cutmix or nothing')
    model.train()
    draws = settings(network, 'adl_draws.*') or []
    if augment == 'cutmix':
        found = run_mixed(model, samples, labels, scores)
        total = found['loss']
    else:
        with drawn(draws):
            found, total = run_network(model, samples, labels)
    total.backward()
    return found | more


def run_mixed(model: nn.Module, images: Tensor, labels: Tensor, scores: Tensor) -> Found:
    """Return logits and loss of mixed images and labels."""
    feats = model.head.prepare(model.extract_feat(images, model.head.loss_needs))
    data = [
        sample.set_gt_score(score)
        for sample, score in zip(run.samples_of(labels), scores.to(images), strict=True)
    ]
    return {'logits': model.head(feats), 'loss': model.head.loss(feats, data)['loss']}


def inputs_of(case: Case) -> tuple[Tensor, Tensor]:
    """Return images and labels, stored or as the description tells them."""
    labels = case.labels()
    if labels is None:
        written = re.search(r'labels \[([\d, ]+)\]', str(case.meta.get('inputs')))
        if written is None:
            raise case.error('in/label', None, 'labels, or "labels [3, 171]" under inputs')
        labels = torch.tensor([int(label) for label in written[1].split(',')])
    # Not the shapes of the weights: they are no shapes of images.
    meta = {key: value for key, value in case.meta.items() if key != 'models'}
    arrays = {**case.arrays, 'in/label': labels.numpy()}
    return replace(case, meta=meta, arrays=arrays).images(), labels


def tolerance_of(case: Case, name: str, expected: NDArray) -> NDArray:
    """The stated share of the largest value, or ten times the stated noise of float32."""
    largest = np.abs(expected).max(axis=0 if 'stats' in name else None, initial=0.0)
    if re.match(r'(out|grad)64', name):
        return np.asarray(1e-9 * largest)
    kind, key, *rest = name.split('/')
    entry, stated = case.meta['models'][key], str(case.get('tolerance'))
    if rest and rest[-1] == 'cam' and 'max - min' in stated:
        noise, least = (
            entry['float32_noise']['cam_over_range'],
            float(re.search(rf'least ({NUMBER})', stated)[1]),
        )
        return np.asarray(max(least, 10 * noise) * (expected.max() - expected.min()))
    pattern = rf'column 2 \(L2\): ({NUMBER})' if 'stats' in name else rf'(?:out/\.\.\.|losses): ({NUMBER})'
    noise = entry.get('float32_noise_over_max', {})
    noise = noise.get('grad_l2_max_rel' if kind.startswith('grad') else '/'.join(rest), 0.0)
    share = re.search(pattern, stated)
    if share is None:
        raise case.error('tolerance', stated, pattern)
    return np.asarray(max(float(share[1]), 10 * noise) * largest)


def share_of(case: Case, name: str) -> float:
    """Batch norm over two images magnifies the rounding of gradients, and some ReLU switch."""
    return 0.1 if name.startswith('grad') else 1e-4


@computes(SYSTEM, lambda case: 'models' in case.meta, tolerance_of, share_of)
def compute_networks(case: Case, dtype: torch.dtype) -> Found:
    """Every network: a prediction with the labels' maps and, where the case has it, a training step."""
    found: Found = {}
    all_images, all_labels = inputs_of(case)
    for name, network in networks(case).items():
        method = method_of(network, name)
        model = run.load(MODELS.build(model_config(network, name)), method, network).to(dtype)
        count = len(
            next(array for path, array in case.arrays.items() if re.match(rf'out/{name}/.*logits$', path))
        )
        images, labels = all_images[:count].to(dtype), all_labels[:count]
        in_parts = any(path.startswith(f'out/{name}/eval/') for path in case.arrays)
        found |= stored(case, f'out/{name}/' + ('eval/' if in_parts else ''), run_eval(model, images, labels))
        if f'grad_stats/{name}' not in case.arrays:
            continue
        found |= stored(case, f'out/{name}/train/', run_train(network, model, images, labels))
        layout = run.layout_of(method, network.shapes)
        gradients = dict(model.named_parameters())
        gradients = {
            theirs: gradients[layout.rename(theirs)].grad for theirs in network.meta['grad_stats_names']
        }
        rows = [torch.stack((row.sum(), row.abs().sum(), row.norm())) for row in gradients.values()]
        found[f'grad_stats/{name}'] = torch.stack(rows)
        found |= stored(case, f'grad/{name}/', gradients)
    return found


def stored(case: Case, prefix: str, values: Mapping[str, Any]) -> Found:
    """Return those values that a case has under a prefix, in the shape that it has."""
    found: Found = {}
    for name, value in values.items():
        full = prefix + name
        if full in case.arrays:
            value = torch.as_tensor(value).detach()
            value = every_pixel(case, full, value) if name.endswith('_sub') else value
            found[full] = value.reshape(1) if case.arrays[full].shape == (1,) else value.clone()
    return found
