"""Every method on every backbone that gives what it needs, at several grids, depths and head counts."""

import wsol_mm  # noqa: F401
from tests.methods import CONFORMER, METHODS, Size, labelled
from tests.timm_families import FAMILIES
from wsol_mm.models.weights import load_pretrained
from wsol_mm.registry import MODELS

import pytest
import torch
from mmpretrain.structures import DataSample
from torch import nn

# With the size of the image: a square grid, one that is not, patch 8, another position embedding.
SIZES = [
    (Size(layers=3, heads=2, width=24, patch=16, img_size=64), (64, 64)),
    (Size(layers=4, heads=3, width=24, patch=16, img_size=64), (48, 80)),
    (Size(layers=2, heads=4, width=32, patch=8, img_size=64), (64, 64)),
    (Size(layers=5, heads=1, width=16, patch=16, img_size=64), (96, 96)),
]
BACKBONES = ['TokenVisionTransformer', 'SpatialTokenTransformer', 'RelationalTransformer', 'VGG16']


def build(backbone: dict, head: dict, **options) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(dict(type='ImageLocalizer', backbone=backbone, head=head, **options))


def shape_of_maps(head: nn.Module, classes: int, grid: tuple[int, int]) -> tuple[int, int, int]:
    side = getattr(head, 'map_size', None)  # of a head that draws boxes, on a grid of its own
    return (1 if head.class_agnostic else classes, *(grid if side is None else (side, side)))


def check_steps(model: nn.Module, size: tuple[int, int], grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model.backbone.init_weights()
    images = torch.randn(3, 3, *size)
    labels = [1, 4, 0]
    samples = [labelled(label) for label in labels]
    losses = model.train()(images, samples, mode='loss')
    total = sum(value for name, value in losses.items() if 'loss' in name)
    total.backward()
    trained = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    for name, parameter in trained:
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
        assert result.loc_maps.shape == shape_of_maps(model.head, 6, grid)
        assert result.loc_maps.isfinite().all()
        assert result.loc_maps[0].std() > 0, 'the map is constant'
        assert result.loc_labels[0] == (-1 if agnostic else label)
        torch.testing.assert_close(result.pred_score, scores.softmax(dim=0))


def needs_of(method: str, size: Size) -> frozenset[str]:
    """Return what the head needs of its backbone in training and at test time."""
    head = MODELS.build(METHODS[method].head_config(size, training=True))
    return head.loss_needs | head.logits_needs | head.predict_needs


@pytest.mark.parametrize(('size', 'image'), SIZES, ids=str)
@pytest.mark.parametrize('kind', BACKBONES)
@pytest.mark.parametrize('method', METHODS)
def test_on_every_backbone(method, kind, size, image):
    backbone = METHODS[method].backbone_config(size, type=kind)
    if kind == 'SpatialTokenTransformer':
        backbone['masked_layers'] = 2
    head = METHODS[method].head_config(size, training=True)
    options = METHODS[method].localizer if kind == METHODS[method].backbone else {}
    missing = needs_of(method, size) - MODELS.get(kind).gives - {'images'}
    if missing == {'stages'}:
        if options:
            check_steps(build(backbone, head, **options), image, tuple(side // size.patch for side in image))
        with pytest.raises(ValueError, match=f'stages: expected names of modules of {kind}, which SPGHead'):
            build(backbone, head)
    elif missing:
        assert kind != METHODS[method].backbone
        with pytest.raises(ValueError, match=f'{head["type"]}: expected a backbone .* got {kind}'):
            build(backbone, head)
    else:
        check_steps(build(backbone, head, **options), image, tuple(side // size.patch for side in image))


@pytest.mark.parametrize('method', METHODS)
def test_on_conformer(method):
    size, hybrid = Size(), METHODS[method].hybrid_options
    # A hybrid's classifier of convolutional features has parameters that must be trained, too.
    head = METHODS[method].head_config(size, training=True, **(hybrid or {}))
    missing = needs_of(method, size) - MODELS.get('TokenConformer').gives - {'images'}
    if missing == {'stages'}:
        with pytest.raises(ValueError, match='stages: expected names of modules of TokenConformer'):
            build(CONFORMER, head)
    elif missing:
        with pytest.raises(ValueError, match=f'{head["type"]}: expected a backbone .* got TokenConformer'):
            build(CONFORMER, head)
    elif hybrid is not None:
        check_steps(build(CONFORMER, head), (64, 80), (4, 5))
    else:
        model = build(CONFORMER, head).eval()
        with torch.no_grad():
            results = model(torch.randn(2, 3, 64, 80), mode='predict')
        assert results[0].loc_maps.shape == shape_of_maps(model.head, 5, (4, 5))


def timm_config(family: str, **options) -> dict:
    return dict(
        type='TimmBackbone',
        model_name=FAMILIES[family].model_name,
        **{**FAMILIES[family].options, **options},
    )


# Two prefix tokens; five, with a table of positions and with rotary embeddings; a network without tokens.
@pytest.mark.parametrize('family', ['DeiT distilled', 'DINOv2 with registers', 'DINOv3', 'ConvNeXt'])
@pytest.mark.parametrize('method', METHODS)
def test_on_timm(method, family):
    known = FAMILIES[family]
    size = Size(layers=2, heads=3, width=known.channels)
    head = METHODS[method].head_config(size, training=True)
    backbone = timm_config(family, init_values=1.0) if known.prefix == 5 else timm_config(family)
    missing = needs_of(method, size) - known.gives - {'images'}
    if missing == {'stages'}:
        with pytest.raises(ValueError, match='stages: expected names of modules of TimmBackbone'):
            build(backbone, head)
    elif missing:
        with pytest.raises(ValueError, match=f'{head["type"]}: expected a backbone .* got TimmBackbone'):
            build(backbone, head)
    else:
        # What reads tokens before the last normalisation leaves that one without a gradient.
        frozen = ['backbone.*'] if METHODS[method].backbone == 'TimmBackbone' else []
        model = build(backbone, head, frozen=frozen)
        # As they are initialised, all patches look alike.
        for parameter in model.backbone.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
        check_steps(model, known.size, known.grid)


def test_stages_of_timm():
    head = METHODS['spg'].head_config(Size(width=64), stage_channels=(32, 48))
    model = build(timm_config('ConvNeXt'), head, stages=('model.stages.1', 'model.stages.2'))
    check_steps(model, FAMILIES['ConvNeXt'].size, FAMILIES['ConvNeXt'].grid)


def test_ts_cam_on_timm_is_ts_cam(tmp_path):
    """The same file, read by the loader, makes the same model of both."""
    size = Size(layers=2, heads=3, width=36, patch=16, img_size=64)
    ours = build(METHODS['ts-cam'].backbone_config(size), METHODS['ts-cam'].head_config(size)).eval()
    options = dict(mlp_ratio=2, img_size=64)
    theirs = build(timm_config('ViT, DeiT, DINO', **options), METHODS['ts-cam'].head_config(size)).eval()
    weights = {
        name: 0.2 * torch.randn_like(value) for name, value in theirs.backbone.model.state_dict().items()
    }
    torch.save(weights, tmp_path / 'deit.pth')
    for model in (ours, theirs):
        report = load_pretrained(model, tmp_path / 'deit.pth')
        assert report.fresh == ['head.semantic_conv.weight', 'head.semantic_conv.bias']
    theirs.head.load_state_dict(ours.head.state_dict())
    images, samples = torch.randn(2, 3, 64, 64), [DataSample().set_gt_label(label) for label in (1, 4)]
    losses = [model(images, samples, mode='loss')['loss'] for model in (ours, theirs)]
    torch.testing.assert_close(*losses)
    with torch.no_grad():
        for one, other in zip(*(model(images, mode='predict') for model in (ours, theirs)), strict=True):
            torch.testing.assert_close(one.pred_score, other.pred_score)
            torch.testing.assert_close(one.loc_maps, other.loc_maps, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(one.attn_map, other.attn_map, atol=1e-5, rtol=1e-4)


def build_default(method: str) -> tuple[nn.Module, torch.Tensor]:
    size, image = SIZES[0]
    torch.manual_seed(0)
    model = MODELS.build(METHODS[method].model_config(size, training=True)).eval()
    return model, torch.randn(2, 3, *image)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('method', METHODS)
def test_weights_in_half_precision(method, dtype):
    """Not autocast: the weights themselves, as for inference on a small device."""
    model, images = build_default(method)
    samples = [labelled(label) for label in (1, 4)]
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
@pytest.mark.parametrize('method', METHODS)
def test_on_a_gpu_under_autocast(method):
    model, images = build_default(method)
    with torch.no_grad():
        expected = model(images, mode='predict')
    model.cuda()
    samples = [labelled(label).to('cuda') for label in (1, 4)]
    with torch.no_grad():
        found = model(images.cuda(), mode='predict')
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.pred_score, other.pred_score, atol=1e-4, rtol=1e-3)
    scaler = torch.amp.GradScaler('cuda')
    with torch.autocast('cuda', dtype=torch.float16):
        losses = model.train()(images.cuda(), samples, mode='loss')
    scaler.scale(sum(value for name, value in losses.items() if 'loss' in name)).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
