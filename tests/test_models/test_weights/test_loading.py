"""Tests of wsol_mm.models.weights: loading of every layout, by values."""

import logging

from wsol_mm.models.weights import fetch_state_dict, load_pretrained
from wsol_mm.registry import MODELS
from wsol_mm.utils.checkpoint_io import CheckpointError

import pytest
import timm
import torch
from mmpretrain.models.backbones import Conformer
from mmpretrain.models.classifiers import ImageClassifier
from safetensors.torch import save_file

TIMM_SIZE = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2, mlp_ratio=2)


@pytest.fixture
def timm_vit() -> torch.nn.Module:
    """A small ViT of timm, whose features tell whether weights arrived at their places."""
    model = timm.models.VisionTransformer(**TIMM_SIZE, num_classes=7)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.2)
    return model.eval()


def assert_same_features(model, timm_vit, images):
    tokens = timm_vit.forward_features(images)
    feats = model.backbone(images)
    torch.testing.assert_close(feats.cls_token, tokens[:, 0], atol=1e-4, rtol=1e-4)
    patches = feats.feature_map.flatten(2).transpose(1, 2)
    torch.testing.assert_close(patches, tokens[:, timm_vit.num_prefix_tokens :], atol=1e-4, rtol=1e-4)


def write_pth(state, path):
    torch.save(state, path)


def write_nested(state, path):
    torch.save(dict(model=state, epoch=3, best_map=0.5), path)


def write_parallel(state, path):
    state = {f'module.{name}': value for name, value in state.items()}
    torch.save(dict(epoch=3, state_dict=state, best_map=0.5), path)


@pytest.mark.parametrize(
    ('write', 'suffix'),
    [(write_pth, '.pth'), (write_nested, '.pth'), (write_parallel, '.pth.tar'), (save_file, '.safetensors')],
)
def test_timm_vit_from_every_kind_of_file(timm_vit, build_localizer, tmp_path, write, suffix):
    write(timm_vit.state_dict(), tmp_path / f'vit{suffix}')
    model = build_localizer()
    report = load_pretrained(model, tmp_path / f'vit{suffix}')
    assert_same_features(model, timm_vit, torch.randn(2, 3, 32, 32))
    assert report.fresh == ['head.semantic_conv.weight']
    assert report.skipped == ['head.weight (7, 24) for (7, 24, 3, 3)']
    assert len(report.loaded) == len(model.state_dict()) - 1
    # The classifier's bias fits, so it is kept: so do the published methods for 1000 classes.
    torch.testing.assert_close(model.head.semantic_conv.bias, timm_vit.head.bias)


def test_classifier_of_other_classes_is_left_out(timm_vit, build_localizer, tmp_path):
    torch.save(timm_vit.state_dict(), tmp_path / 'vit.pth')
    model = build_localizer(num_classes=5)
    before = model.head.semantic_conv.bias.clone()
    report = load_pretrained(model, tmp_path / 'vit.pth')
    assert report.fresh == ['head.semantic_conv.weight', 'head.semantic_conv.bias']
    assert report.skipped == ['head.weight (7, 24) for (5, 24, 3, 3)', 'head.bias (7,) for (5,)']
    assert torch.equal(model.head.semantic_conv.bias, before)


def test_head_that_takes_no_classifier_keeps_its_bias(timm_vit, build_localizer, tmp_path):
    """SAT drops a plain classifier whatever its shape, but not the head of its own checkpoints."""
    torch.save(timm_vit.state_dict(), tmp_path / 'vit.pth')
    model = build_localizer(backbone=dict(type='SpatialTokenTransformer'), head=dict(type='SATHead'))
    before = model.head.semantic_conv.bias.clone()
    report = load_pretrained(model, tmp_path / 'vit.pth')
    assert report.skipped == ['head.weight', 'head.bias']
    assert set(report.fresh) == {
        'backbone.spatial_token',
        'backbone.spatial_pos_embed',
        'head.semantic_conv.weight',
        'head.semantic_conv.bias',
        'head.normalization_loss.filter.kernel',
    }
    assert torch.equal(model.head.semantic_conv.bias, before)
    torch.save(model.state_dict(), tmp_path / 'sat.pth')
    model.head.semantic_conv.bias.data.zero_()
    assert load_pretrained(model, tmp_path / 'sat.pth').fresh == []
    assert torch.equal(model.head.semantic_conv.bias, before)


def test_one_log_line_each(timm_vit, build_localizer, tmp_path, caplog):
    torch.save(timm_vit.state_dict(), tmp_path / 'vit.pth')
    logger = logging.getLogger('test_one_log_line_each')
    with caplog.at_level(logging.INFO, logger.name):
        load_pretrained(build_localizer(num_classes=5), tmp_path / 'vit.pth', logger)
    lines = [record.message for record in caplog.records]
    assert len(lines) == 3
    assert lines[0].startswith(f'Loaded 42 of 44 entries from {tmp_path / "vit.pth"} (timm')
    assert lines[1] == (
        'Skipped 2 entries of the file: head.weight (7, 24) for (5, 24, 3, 3), head.bias (7,) for (5,)'
    )
    assert lines[2] == (
        'Left fresh 2 entries of the model: head.semantic_conv.weight, head.semantic_conv.bias'
    )


def test_distilled_deit(build_localizer, tmp_path, timm_vit):
    """The distillation token, its place in the position embedding and its classifier are not used."""
    state = timm_vit.state_dict()
    place = torch.full((1, 1, 24), 9.0)
    state['pos_embed'] = torch.cat((state['pos_embed'][:, :1], place, state['pos_embed'][:, 1:]), dim=1)
    state |= {'dist_token': place, 'head_dist.weight': torch.ones(7, 24), 'head_dist.bias': torch.ones(7)}
    torch.save(dict(model=state), tmp_path / 'deit.pth')
    model = build_localizer()
    report = load_pretrained(model, tmp_path / 'deit.pth')
    assert_same_features(model, timm_vit, torch.randn(1, 3, 32, 32))
    assert {'dist_token', 'head_dist.weight', 'head_dist.bias'} <= set(report.skipped)


@pytest.mark.parametrize('size', [48, (24, 40)])
def test_position_embedding_is_interpolated(timm_vit, build_localizer, tmp_path, size):
    torch.save(timm_vit.state_dict(), tmp_path / 'vit.pth')
    model = build_localizer(backbone=dict(img_size=size))
    load_pretrained(model, tmp_path / 'vit.pth')
    grid = model.backbone.patch_resolution
    table = timm_vit.pos_embed[:, 1:].reshape(1, 4, 4, 24).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(table, grid, mode='bicubic').flatten(2).transpose(1, 2)
    torch.testing.assert_close(model.backbone.pos_embed[:, 1:], expected)
    torch.testing.assert_close(model.backbone.pos_embed[:, :1], timm_vit.pos_embed[:, :1])


def test_position_embedding_that_is_no_square_is_refused(timm_vit, build_localizer, tmp_path):
    state = timm_vit.state_dict()
    state['pos_embed'] = state['pos_embed'][:, :13]
    torch.save(state, tmp_path / 'vit.pth')
    with pytest.raises(
        ValueError, match=r'vit\.pth: position embedding: expected 1 and a square number .*, got 13'
    ):
        load_pretrained(build_localizer(), tmp_path / 'vit.pth')


def test_timm_scheme(timm_vit, build_localizer, monkeypatch):
    calls = []

    def create_model(name, pretrained):
        calls.append((name, pretrained))
        return timm_vit

    monkeypatch.setattr(timm, 'create_model', create_model)
    model = build_localizer()
    load_pretrained(model, 'timm://vit_tiny_patch16_224.augreg_in21k_ft_in1k')
    assert calls == [('vit_tiny_patch16_224.augreg_in21k_ft_in1k', True)]
    assert_same_features(model, timm_vit, torch.randn(1, 3, 32, 32))


def test_unknown_timm_model_is_named(build_localizer):
    with pytest.raises(
        ValueError, match='model.pretrained: expected a model of timm .*, got timm://vit_unheard_of'
    ):
        load_pretrained(build_localizer(), 'timm://vit_unheard_of')


def test_without_a_network_a_file_is_asked_for(build_localizer, monkeypatch):
    def create_model(name, pretrained):
        raise ConnectionError('no route\nto host')

    monkeypatch.setattr(timm, 'create_model', create_model)
    with pytest.raises(
        OSError, match=r'got neither \(ConnectionError: no route\)\. .*model\.pretrained=FILE'
    ):
        load_pretrained(build_localizer(), 'timm://vit_tiny_patch16_224')


def test_mmpretrain_vit(build_localizer, tmp_path):
    model = build_localizer()
    theirs = ImageClassifier(
        backbone=dict(
            type='VisionTransformer',
            arch=model.backbone.arch_settings,
            img_size=32,
            patch_size=8,
            out_type='raw',
        ),
        head=dict(type='VisionTransformerClsHead', num_classes=7, in_channels=24),
    )
    for parameter in theirs.parameters():
        parameter.data.normal_(std=0.2)
    theirs.eval()
    torch.save(dict(meta=dict(), state_dict=theirs.state_dict()), tmp_path / 'mm.pth')
    report = load_pretrained(model, tmp_path / 'mm.pth')
    assert report.fresh == ['head.semantic_conv.weight']
    assert report.skipped == ['head.layers.head.weight (7, 24) for (7, 24, 3, 3)']
    torch.testing.assert_close(model.head.semantic_conv.bias, theirs.head.layers.head.bias)
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(model.backbone(images).cls_token, theirs.backbone(images)[0][:, 0])


@pytest.mark.parametrize('classes', [7, 5])
def test_mmpretrain_conformer(build_localizer, tmp_path, classes):
    model = build_localizer(hybrid=True, num_classes=classes)
    theirs = ImageClassifier(
        backbone=Conformer(arch=model.backbone.arch_settings),
        head=dict(type='ConformerHead', num_classes=7, in_channels=[64, 24]),
    )
    for parameter in theirs.parameters():
        parameter.data.normal_(std=0.2)
    theirs.eval()
    torch.save(dict(state_dict=theirs.state_dict()), tmp_path / 'mm.pth')
    report = load_pretrained(model, tmp_path / 'mm.pth')
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(model.backbone(images).cls_token, theirs.backbone(images)[0][1])
    if classes == 7:
        assert report.fresh == ['head.semantic_conv.weight']
        torch.testing.assert_close(model.head.conv_fc.weight, theirs.head.conv_cls_head.weight)
        torch.testing.assert_close(model.head.semantic_conv.bias, theirs.head.trans_cls_head.bias)
    else:
        assert len(report.fresh) == 4 and len(report.skipped) == 4


@pytest.mark.parametrize('hybrid', [False, True])
def test_own_checkpoint(build_localizer, tmp_path, hybrid):
    source = build_localizer(hybrid)
    torch.save(dict(state_dict=source.state_dict(), meta=dict(epoch=1)), tmp_path / 'own.pth')
    model = build_localizer(hybrid)
    for value in model.state_dict().values():
        value.zero_()
    report = load_pretrained(model, tmp_path / 'own.pth')
    assert report.fresh == report.skipped == []
    for name, value in model.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name


def test_unknown_layout_names_file_keys_and_layouts(build_localizer, tmp_path):
    torch.save({f'layer{i}.conv.weight': torch.ones(1) for i in range(7)}, tmp_path / 'resnet.pth')
    with pytest.raises(ValueError, match='resnet.pth') as error:
        load_pretrained(build_localizer(), tmp_path / 'resnet.pth')
    for part in (
        'resnet.pth',
        'layer0.conv.weight, layer1.conv.weight',
        '(7 in all)',
        'timm',
        'Conformer',
        'mmpretrain',
    ):
        assert part in str(error.value)


def test_backbone_of_another_family_is_refused(build_localizer, timm_vit, tmp_path):
    torch.save(timm_vit.state_dict(), tmp_path / 'vit.pth')
    with pytest.raises(ValueError, match=r'vit\.pth: expected weights of the backbone in one of the layouts'):
        load_pretrained(build_localizer(hybrid=True), tmp_path / 'vit.pth')


def test_backbone_of_another_width_is_refused(build_localizer, tmp_path):
    wide = timm.models.VisionTransformer(**{**TIMM_SIZE, 'embed_dim': 48}, num_classes=7)
    torch.save(wide.state_dict(), tmp_path / 'wide.pth')
    with pytest.raises(ValueError, match=r'Shapes differ \(file for model\): cls_token \(1, 1, 48\)'):
        load_pretrained(build_localizer(), tmp_path / 'wide.pth')


def test_single_misfit_of_the_backbone_is_refused(build_localizer, timm_vit, tmp_path):
    state = timm_vit.state_dict()
    state['patch_embed.proj.weight'] = torch.ones(24, 3, 16, 16)
    torch.save(state, tmp_path / 'vit.pth')
    with pytest.raises(
        ValueError,
        match=r'expected the shapes of TokenVisionTransformer.*\(24, 3, 16, 16\) for \(24, 3, 8, 8\)',
    ):
        load_pretrained(build_localizer(), tmp_path / 'vit.pth')


def test_file_without_weights_is_refused(tmp_path):
    torch.save(dict(epoch=3, state_dict=dict(lr=0.1)), tmp_path / 'empty.pth')
    with pytest.raises(
        CheckpointError, match=r'empty\.pth: expected weights .*, got the entries epoch, state_dict'
    ):
        fetch_state_dict(tmp_path / 'empty.pth')


def test_missing_file_is_named(build_localizer, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r'model\.pretrained: expected a file, .* got nothing at .*absent\.pth'
    ):
        load_pretrained(build_localizer(), tmp_path / 'absent.pth')


def test_real_vit_tiny(shared_dir):
    """A file that timm published, against timm's own model with it."""
    path = shared_dir / 'weights' / 'vit_tiny_patch16_224.safetensors'
    if not path.is_file():
        pytest.skip(f'no file {path}')
    reference = timm.create_model('vit_tiny_patch16_224')
    reference.load_state_dict(fetch_state_dict(path))
    model = MODELS.build(
        dict(
            type='ImageLocalizer',
            backbone=dict(type='TokenVisionTransformer', arch='vit-t'),
            head=dict(type='TSCAMHead', num_classes=1000, in_channels=192),
        )
    )
    report = load_pretrained(model, path)
    assert report.fresh == ['head.semantic_conv.weight']
    assert_same_features(model.eval(), reference.eval(), torch.randn(1, 3, 224, 224))
