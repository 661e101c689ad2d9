"""Every head on every backbone of the table in docs/methods.md, at several grids, depths and head counts."""

from tests.clip_samples import RANDOM_CLIP
from wsol_mm.registry import MODELS

import pytest
import torch
from mmpretrain.structures import DataSample

HEADS = ('TSCAMHead', 'SCMHead', 'LCTRHead', 'SATHead', 'CATRHead', 'CDTRHead')
# Depth, heads, width, patch and image: a square grid, one that is not, patch 8, another position embedding.
SIZES = [
    dict(layers=3, heads=2, width=24, patch=16, trained=64, size=(64, 64)),
    dict(layers=4, heads=3, width=24, patch=16, trained=64, size=(48, 80)),
    dict(layers=2, heads=4, width=32, patch=8, trained=64, size=(64, 64)),
    dict(layers=5, heads=1, width=16, patch=16, trained=64, size=(96, 96)),
]


def vit(kind: str, size: dict, **kwargs) -> dict:
    arch = dict(
        embed_dims=size['width'],
        num_layers=size['layers'],
        num_heads=size['heads'],
        feedforward_channels=2 * size['width'],
    )
    return dict(type=kind, arch=arch, img_size=size['trained'], patch_size=size['patch'], **kwargs)


def head_config(kind: str, size: dict) -> dict:
    config = dict(type=kind, num_classes=7, in_channels=size['width'])
    if kind in ('CATRHead', 'CDTRHead'):
        config |= dict(num_layers=size['layers'], num_heads=size['heads'], ocm=dict(num_layers=2))
    if kind == 'CDTRHead':
        config['sba'] = dict(class_names=list('abcdefg'), clip=RANDOM_CLIP)
    return config


def check_steps(backbone: dict, head: dict, size: tuple[int, int], grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head))
    model.backbone.init_weights()
    images = torch.randn(3, 3, *size)
    labels = [1, 4, 0]
    samples = [DataSample().set_gt_label(label) for label in labels]
    losses = model.train()(images, samples, mode='loss')
    total = sum(value for name, value in losses.items() if 'loss' in name)
    total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f'{name} has no gradient'
        assert parameter.grad.isfinite().all(), f'{name} has a gradient that is not finite'
    with torch.no_grad():
        results = model.eval()(images, samples, mode='predict')
        crops = model(images[:, None].expand(-1, 10, -1, -1, -1), samples, mode='predict')
        logits = model.head(model.extract_feat(images))
    for result, same, label, scores in zip(results, crops, labels, logits, strict=True):
        # Ten times the same crop.
        torch.testing.assert_close(same.pred_score, result.pred_score)
        torch.testing.assert_close(same.loc_maps, result.loc_maps)
        agnostic = model.head.class_agnostic
        assert result.loc_maps.shape == (1 if agnostic else 6, *grid)
        assert result.loc_maps.isfinite().all()
        assert result.loc_maps[0].std() > 0, 'the map is constant'
        assert result.loc_labels[0] == (-1 if agnostic else label)
        torch.testing.assert_close(result.pred_score, scores.softmax(dim=0))


@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('kind', ['TokenVisionTransformer', 'SpatialTokenTransformer'])
@pytest.mark.parametrize('head', HEADS)
def test_on_transformers(head, kind, size):
    backbone = vit(kind, size, **(dict(masked_layers=2) if kind == 'SpatialTokenTransformer' else {}))
    grid = tuple(side // size['patch'] for side in size['size'])
    head = head_config(head, size)
    if head['type'] == 'SATHead' and kind == 'TokenVisionTransformer':
        with pytest.raises(ValueError, match='must have a spatial token'):
            check_steps(backbone, head, size['size'], grid)
    else:
        check_steps(backbone, head, size['size'], grid)


@pytest.mark.parametrize('head', [head for head in HEADS if head != 'SATHead'])
def test_on_conformer(head):
    arch = dict(embed_dims=24, depths=3, num_heads=2, channel_ratio=0.25)
    backbone = dict(type='TokenConformer', arch=arch)
    config = head_config(head, dict(width=24, layers=3, heads=2))
    # Only these have a classifier of convolutional features.
    if head in ('TSCAMHead', 'SCMHead'):
        check_steps(backbone, config | dict(conv_channels=64, conv_init='kaiming'), (64, 80), (4, 5))
    else:
        model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=config)).eval()
        with torch.no_grad():
            results = model(torch.randn(2, 3, 64, 80), mode='predict')
        assert results[0].loc_maps.shape == (5, 4, 5)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('head', HEADS)
def test_weights_in_half_precision(head, dtype):
    """Not autocast: the weights themselves, as for inference on a small device."""
    size = SIZES[0]
    kind = 'SpatialTokenTransformer' if head == 'SATHead' else 'TokenVisionTransformer'
    backbone = vit(kind, size, **(dict(masked_layers=2) if head == 'SATHead' else {}))
    head = head_config(head, size)
    torch.manual_seed(0)
    model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head)).eval()
    images = torch.randn(2, 3, *size['size'])
    samples = [DataSample().set_gt_label(label) for label in (1, 4)]
    with torch.no_grad():
        expected = model(images, mode='predict')
        model.to(dtype)
        found = model(images.to(dtype), mode='predict')
        losses = model.train()(images.to(dtype), samples, mode='loss')
    assert all(value.isfinite() for value in model.parse_losses(losses)[1].values())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.pred_score.float(), other.pred_score, atol=3e-2, rtol=0)
        assert one.loc_maps.dtype == torch.float32 and one.loc_maps.isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
@pytest.mark.parametrize('head', HEADS)
def test_on_a_gpu_under_autocast(head):
    size = SIZES[0]
    kind = 'SpatialTokenTransformer' if head == 'SATHead' else 'TokenVisionTransformer'
    backbone = vit(kind, size, **(dict(masked_layers=2) if head == 'SATHead' else {}))
    head = head_config(head, size)
    torch.manual_seed(0)
    model = MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head)).eval()
    images = torch.randn(2, 3, *size['size'])
    with torch.no_grad():
        expected = model(images, mode='predict')
    model.cuda()
    samples = [DataSample().set_gt_label(label).to('cuda') for label in (1, 4)]
    with torch.no_grad():
        found = model(images.cuda(), mode='predict')
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.pred_score, other.pred_score, atol=1e-4, rtol=1e-3)
    scaler = torch.amp.GradScaler('cuda')
    with torch.autocast('cuda', dtype=torch.float16):
        losses = model.train()(images.cuda(), samples, mode='loss')
    scaler.scale(sum(value for name, value in losses.items() if 'loss' in name)).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
