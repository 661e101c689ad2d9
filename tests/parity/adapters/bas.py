"""BAS: its losses alone, its eight networks in training and evaluation, and its boxes."""

import re
from collections.abc import Iterator
from typing import Any

from wsol_mm.evaluation import get_protocol
from wsol_mm.evaluation.functional import ImageGeometry, gt_boxes_to_frame
from wsol_mm.registry import MODELS

import numpy as np
import torch
from mmpretrain.models.backbones import ResNet
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import models as run
from ..case import Case
from ..comparison import Comparison, Found, close, equal, stated_tolerance
from ..description import NUMBER
from ..engine import checks, computes
from ..evaluators import boxes_and_iou

SYSTEM = 'cnn_baselines'


def is_bas(case: Case) -> bool:
    return str(case.meta.get('method')).startswith('BAS')


def keeps_equal(case: Case) -> bool:
    """Return whether images with equal scores count: by the words on the loss, else by the data set."""
    written = re.search(r'0 where \w+ (>=?)', str(case.meta.get('loss')))
    data = f'{case.meta.get("dataset")} {case.meta["method"]}'.lower()
    return written[1] == '>' if written else 'ilsvrc' in data


@computes(SYSTEM, lambda case: is_bas(case) and 'in/x_erase_sum' in case.arrays)
def compute_losses(case: Case, dtype: torch.dtype) -> Found:
    """The loss on given scores and maps, with the weight of the area of every network."""
    found: Found = {}
    for name in case.listed():
        if not (network := re.fullmatch(r'out/(\w+)/loss', name)):
            continue
        weight = re.search(rf'\b{network[1]} ({NUMBER})', str(case.meta['loss']))
        if weight is None:
            raise case.error('loss', case.meta['loss'], f'the weight of the area for {network[1]}')
        loss = MODELS.build(
            dict(
                type='BackgroundActivationLoss',
                area_weight=float(weight[1]),
                keep_equal=keeps_equal(case),
            )
        )
        background, whole, maps = (
            torch.from_numpy(case.arrays[f'in/{key}']).to(dtype).requires_grad_()
            for key in ('x_erase_sum', 'x_sum', 'saliency')
        )
        found[name] = sum(loss(background, whole, maps[:, 0]))
        found[name].backward()
        found[f'grad/{network[1]}/x_erase_sum'] = background.grad
        for key in case.listed():
            if place := re.fullmatch(rf'grad/{network[1]}/saliency((?:_\d+)+)', key):
                found[key] = maps.grad[tuple(map(int, place[1].split('_')[1:]))]
    return found


def backbone_of(case: Case) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Return the configs of backbone and back end, and the channels between, as the weights tell them."""
    shapes, channels = case.shapes, case.shapes['classifier_loc.0.weight'][1]
    if 'model.0.0.weight' in shapes:
        strides = (2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1)
        width = shapes['model.0.0.weight'][0] / 32
        return dict(type='MobileNetV1', strides=strides, width=width), dict(type='MobileNetBackEnd'), channels
    if 'layer1.0.conv1.weight' in shapes:
        blocks = tuple(
            1 + max(numbers_in(shapes, rf'layer{stage}\.(\d+)\.conv1\.weight')) for stage in range(1, 5)
        )
        kind = 'Bottleneck' if 'layer1.0.conv3.weight' in shapes else 'BasicBlock'
        depth = next(
            d for d, (block, n) in ResNet.arch_settings.items() if (block.__name__, n) == (kind, blocks)
        )
        stages = dict(num_stages=3, strides=(1, 2, 1), dilations=(1, 1, 1), out_indices=(2,))
        return (
            dict(type='mmpretrain.ResNet', depth=depth, **stages),
            dict(type='ResNetBackEnd', depth=depth),
            channels,
        )
    if 'conv1_1.weight' in shapes:
        pools, width = ('max2', 'max2', 'max2', None), shapes['conv1_1.weight'][0]
        return dict(type='VGG16', pools=pools, base_channels=width), dict(type='VGGBackEnd'), channels
    if 'Mixed_6e.branch1x1.conv.weight' in shapes:
        return dict(type='InceptionV3', output_stride=8), dict(type='InceptionBackEnd'), channels
    raise case.error('state', next(iter(shapes)), 'weights of VGG16, ResNet, Inception v3 or MobileNet v1')


def numbers_in(names: dict, pattern: str) -> Iterator[int]:
    return (int(found[1]) for name in names if (found := re.fullmatch(pattern, name)))


def build(case: Case) -> nn.Module:
    """Return the model of a case with its weights."""
    backbone, back_end, channels = backbone_of(case)
    words = str(case.meta['loss'])
    guidance, area = (re.search(rf'({NUMBER})\s*\*\s*{term}', words) for term in (r'CE\(score_2\)', 'area'))
    if guidance is None or area is None:
        raise case.error('loss', words, '"w*CE(score_2)" and "w*area"')
    first = next(
        shape for name, shape in case.shapes.items() if re.fullmatch(r'classifier(_cls)?\.0\.weight', name)
    )
    head = dict(
        type='BASHead',
        num_classes=case.shapes['classifier_loc.0.weight'][0],
        in_channels=channels,
        back_end=back_end,
        hidden_channels=first[0],
        guidance_weight=float(guidance[1]),
        background_loss=dict(area_weight=float(area[1]), keep_equal=keeps_equal(case)),
    )
    model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head))
    return run.load(model, 'bas', case)


def tolerance_of(case: Case, name: str, expected: NDArray) -> NDArray | None:
    """The stated share of the largest value, or ten times the stated noise; of statistics, by column."""
    limit = np.asarray(stated_tolerance(case, name, expected))
    if re.match(r'(out|grad)64', name):
        return limit
    largest = np.abs(expected).max(axis=0 if 'stats' in name else None, initial=0.0)
    if 'stats' in name:
        limit = limit / np.abs(expected).max() * largest
    key = 'grad_l2' if name.startswith('grad') else name.removeprefix('out/')
    return np.maximum(limit, 10 * case.meta.get('float32_noise_over_max', {}).get(key, 0.0) * largest)


def share_of(case: Case, name: str) -> float:
    """Batch norm over two images magnifies the rounding of gradients, and some ReLU switch."""
    return 0.1 if name.startswith('grad/') else 0.01 if name == 'grad_stats' else 1e-4


@computes(SYSTEM, lambda case: is_bas(case) and 'architecture' in case.meta, tolerance_of, share_of)
def compute_networks(case: Case, dtype: torch.dtype) -> Found:
    """A network: evaluation with the label's map and with the mean of several, and a training step."""
    model, images, labels = build(case).to(dtype), case.images().to(dtype), case.labels()
    found = run_eval(model, images, labels, case)
    if any(name.startswith(('out/train/', 'grad')) for name in case.listed()):
        found |= run_train(model, images.requires_grad_(), labels, case)
    return found


def run_eval(model: nn.Module, images: Tensor, labels: Tensor, case: Case) -> Found:
    """Return scores and maps of a prediction."""
    head = model.eval().head
    with torch.no_grad():
        feats = head.prepare(model.extract_feat(images, head.predict_needs))
        maps, class_maps = head.localization_maps(feats, labels[:, None]), head.class_maps(feats)
        found = {
            'score_1': head(feats),
            'saliency_label': maps,
            'feature_map_label': class_maps[torch.arange(len(labels)), labels],
            'score_2': head.foreground_logits(class_maps, maps),
        }
        for number in numbers_in(case.listed(), r'out/eval/saliency_top(\d+)'):
            head.map_classes = number
            found[f'saliency_top{number}'] = head.localization_maps(feats, labels[:, None])
        head.map_classes = 1
    return run.prefixed('out/eval/', found)


def run_train(model: nn.Module, images: Tensor, labels: Tensor, case: Case) -> Found:
    """Return scores, maps, losses and gradients of a training step."""
    head = model.train().head
    methods = ('class_maps', 'foreground_maps', 'background_scores')
    with run.recorded_calls({name: (head, name) for name in methods}) as calls:
        losses = model(images, run.samples_of(labels), mode='loss')
    total = sum(value for name, value in losses.items() if name.startswith('loss'))
    total.backward()
    class_maps, maps, background = (calls[name][1].detach() for name in methods)
    logits, within = class_maps.mean(dim=(2, 3)), head.foreground_logits(class_maps, maps)
    found = {
        'score_1': logits,
        'score_2': within,
        'saliency': maps,
        'x_sum': logits[torch.arange(len(labels)), labels],
        'x_erase_sum': background,
        'loss_cls_1': losses['loss_cls'],
        'loss_cls_2': nn.functional.cross_entropy(within, labels),
        'loss_bas': losses['loss_background'] + losses['loss_area'],
        'area_per_sample': maps.mean(dim=(1, 2, 3)),
        'loss': total,
    }
    layout = run.layout_of('bas', case.shapes)
    own = {name: parameter.grad for name, parameter in model.named_parameters()}
    gradients = {name: own.get(layout.rename(name)) for name in case.shapes}
    found = run.prefixed('out/train/', found) | {'grad/in/image': images.grad}
    found |= {f'grad/{name}': value for name, value in gradients.items() if value is not None}
    if rows := [gradients[name] for name in case.meta.get('grad_stats_names', ())]:
        statistics = [torch.stack((row.sum(), row.abs().sum(), row.norm())) for row in rows]
        found['grad_stats'] = torch.stack(statistics)
    return found


@checks(SYSTEM, lambda case: is_bas(case) and 'out/pred_box' in case.arrays)
def check_boxes(case: Case) -> Iterator[Comparison]:
    """Boxes of given maps, the ground truth in the crop, IoU and whether it is enough."""
    arrays, words = case.arrays, case.meaning('out/gt_box_crop')
    resize, crop = (
        case.meta.get(f'{word}_size') or int(re.search(rf'{word}\D{{0,4}}(\d+)|$', words)[1] or default)
        for word, default in (('resize', 256), ('crop', 224))
    )
    thresholds = np.broadcast_to(arrays['in/threshold'], len(arrays['in/saliency']))
    boxes, truths, overlaps, right = [], [], [], []
    for loc_map, threshold, size, box in zip(
        arrays['in/saliency'], thresholds, arrays['in/image_wh'], arrays['in/gt_box'], strict=True
    ):
        protocol = get_protocol('bas', thresholds=(threshold,))
        geometry = ImageGeometry(tuple(size.tolist()), (resize, resize), (crop, crop))
        truth = gt_boxes_to_frame(box[None], geometry, protocol.gt_conversion)
        found, iou = boxes_and_iou(protocol, [loc_map], [truth], (crop, crop))
        level, strict = protocol.criteria[protocol.known_criterion]
        boxes.append(found[0, 0])
        truths.append(truth[0])
        overlaps.append(iou[0, 0])
        right.append(iou[0, 0] > level if strict else iou[0, 0] >= level)
    yield equal('pred_box', boxes, arrays['out/pred_box'])
    yield close('gt_box_crop', truths, arrays['out/gt_box_crop'], 1e-9)
    yield close('iou', overlaps, arrays['out/iou'], 1e-9)
    yield equal('correct', right, arrays['out/correct'])
