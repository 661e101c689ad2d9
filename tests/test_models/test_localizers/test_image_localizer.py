"""Tests of wsol_mm.models.localizers.image_localizer."""

import copy
import pickle

from wsol_mm.models.heads import LocalizationHead
from wsol_mm.models.localizers import ImageLocalizer
from wsol_mm.registry import MODELS

import pytest
import torch
from mmengine.logging import MMLogger
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.structures import DataSample


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ('arch', 'width', 'classes', 'parameters'),
    [
        ('deit-tiny', 192, 200, 5_870_216),
        ('deit-tiny', 192, 1000, 7_253_416),
        ('deit-small', 384, 200, 22_357_064),
        ('deit-small', 384, 1000, 25_122_664),
        ('deit-base', 768, 200, 87_181_256),
        ('deit-base', 768, 1000, 92_711_656),
    ],
)
def test_number_of_parameters_of_deit(arch, width, classes, parameters):
    with torch.device('meta'):
        model = MODELS.build(
            dict(
                type='ImageLocalizer',
                backbone=dict(type='TokenVisionTransformer', arch=arch),
                head=dict(type='TSCAMHead', num_classes=classes, in_channels=width),
            )
        )
    assert count(model) == parameters
    assert len(model.state_dict()) == 152


@pytest.mark.parametrize(('classes', 'parameters'), [(200, 37_159_824), (1000, 40_745_424)])
def test_number_of_parameters_of_conformer(classes, parameters):
    model = MODELS.build(
        dict(
            type='ImageLocalizer',
            backbone=dict(type='TokenConformer', arch='small'),
            head=dict(type='TSCAMHead', num_classes=classes, in_channels=384, conv_channels=1024),
        )
    )
    assert count(model) == parameters
    assert len(model.state_dict()) == 718


@pytest.mark.parametrize('hybrid', [False, True])
def test_asks_for_what_the_head_needs(build_localizer, monkeypatch, hybrid):
    model = build_localizer(hybrid)
    asked = []
    original = type(model.backbone).forward

    def record(self, x, needs):
        asked.append(needs)
        return original(self, x, needs)

    monkeypatch.setattr(type(model.backbone), 'forward', record)
    images, samples = torch.randn(2, 3, 32, 32), [DataSample().set_gt_label(1) for _ in range(2)]
    logits = model(images)
    losses = model(images, samples, mode='loss')
    predicted = model(images, samples, mode='predict')
    logits_needs = {'conv_map'} if hybrid else set()
    assert asked == [logits_needs, logits_needs, {'class_attention', *logits_needs}]
    assert logits.shape == (2, 7)
    torch.testing.assert_close(
        losses['loss'], torch.nn.functional.cross_entropy(logits, torch.tensor([1, 1]))
    )
    torch.testing.assert_close(predicted[1].pred_score, logits[1].softmax(dim=0))
    assert predicted[0].loc_labels[0] == 1


def test_images_are_given_by_the_localizer(build_localizer):
    model, images = build_localizer(), torch.randn(2, 3, 32, 32)
    assert model.extract_feat(images, {'images'}).extras['images'] is images
    assert not model.extract_feat(images).extras


@pytest.mark.parametrize(
    ('head', 'kind', 'missing'),
    [
        (dict(type='SATHead'), 'TokenVisionTransformer', 'spatial_mask'),
        (dict(type='LCTRHead'), 'SpatialTokenTransformer', 'propagated'),
        (dict(type='TSCAMHead', conv_channels=64), 'TokenVisionTransformer', 'conv_map'),
        (dict(type='SCMHead', conv_channels=64), 'RelationalTransformer', 'conv_map'),
    ],
    ids=str,
)
def test_what_the_backbone_does_not_give_is_an_error_of_building(build_localizer, head, kind, missing):
    message = rf"{head['type']}: expected a backbone that gives \['{missing}'\], got {kind}, which gives"
    with pytest.raises(ValueError, match=message):
        build_localizer(head=head, backbone=dict(type=kind))


def test_a_head_that_does_not_localize_is_named(build_localizer):
    with pytest.raises(TypeError, match='head: expected a LocalizationHead, got LinearClsHead'):
        build_localizer(head=dict(type='LinearClsHead'))


@pytest.mark.parametrize('hybrid', [False, True])
def test_every_parameter_gets_a_gradient(build_localizer, hybrid):
    model = build_localizer(hybrid).train()
    images = torch.randn(2, 3, 32, 32)
    model(images, [DataSample().set_gt_label(i) for i in range(2)], mode='loss')['loss'].backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize('hybrid', [False, True])
def test_bfloat16_autocast(build_localizer, hybrid):
    model = build_localizer(hybrid).train()
    images, samples = torch.randn(2, 3, 32, 32), [DataSample().set_gt_label(i) for i in range(2)]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = model(images, samples, mode='loss')['loss']
    loss.backward()
    assert torch.isfinite(loss)
    model.eval()
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        sample = model(images, samples, mode='predict')[0]
    assert sample.loc_maps.dtype == torch.float32 and torch.isfinite(sample.loc_maps).all()


def test_default_preprocessor_and_test_step(build_localizer):
    model = build_localizer(data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True))
    assert isinstance(model, ImageClassifier)
    assert type(model.data_preprocessor).__name__ == 'LocalizationDataPreprocessor'
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    samples = model.test_step(dict(inputs=[image], data_samples=[DataSample().set_gt_label(2)]))
    normalised = (image.float().flip(0) - 127.5) / 127.5
    torch.testing.assert_close(samples[0].pred_score, model(normalised[None])[0].softmax(dim=0))


def test_pickles(build_localizer):
    model = build_localizer()
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(pickle.loads(pickle.dumps(model))(images), model(images))


def test_pretrained_weights_replace_the_initial_ones_in_training_alone(build_localizer, tmp_path):
    source = build_localizer()
    for parameter in source.parameters():
        parameter.data.add_(1)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'source.pth')
    model = build_localizer(pretrained=str(tmp_path / 'source.pth'), num_classes=4)
    assert not torch.equal(model.backbone.ln1.weight, source.backbone.ln1.weight), 'building loads nothing'
    model.init_weights()
    assert torch.equal(model.backbone.ln1.weight, source.backbone.ln1.weight)
    # The head of another number of classes keeps its initial values.
    assert not torch.equal(model.head.semantic_conv.weight, source.head.semantic_conv.weight[:4])
    model.backbone.ln1.weight.data.zero_()
    model.init_weights()
    assert not model.backbone.ln1.weight.any(), 'only once'


def test_how_parameters_were_initialised_is_in_the_log_file_alone(build_localizer, tmp_path, capfd):
    """A line for each of hundreds of parameters is nothing for the console."""
    file = tmp_path / 'run.log'
    for name, log_file in (('without a file', None), ('with a file', file)):
        MMLogger.get_instance(name, log_file=log_file)
        try:
            build_localizer().init_weights()
        finally:
            MMLogger._instance_dict.pop(name)
        assert 'init_weights' not in ''.join(capfd.readouterr())
    assert 'init_weights' in file.read_text()


def test_modules_may_be_given_built(build_localizer):
    parts = build_localizer()
    model = MODELS.build(dict(type='ImageLocalizer', backbone=parts.backbone, head=parts.head))
    assert model.backbone is parts.backbone and model.head is parts.head


class _StageHead(LocalizationHead):
    loss_needs = frozenset({'stages'})

    def forward(self, feats):
        return feats.feature_map.mean(dim=(2, 3))[:, : self.num_classes]

    def localization_maps(self, feats, labels):
        return feats.feature_map[:, :1]


def stage_localizer(**options) -> ImageLocalizer:
    backbone = dict(type='mmpretrain.ResNet', depth=18)
    return ImageLocalizer(backbone, _StageHead(num_classes=3, in_channels=512), **options)


def test_stages_are_outputs_of_named_modules():
    model, images = stage_localizer(stages=('layer3', 'layer1.0')).eval(), torch.randn(2, 3, 64, 64)
    feats = model.extract_feat(images, {'stages'})
    assert [tuple(stage.shape) for stage in feats.stages] == [(2, 256, 4, 4), (2, 64, 16, 16)]
    assert torch.equal(model.backbone.layer4(feats.stages[0]), feats.feature_map)
    assert model.extract_feat(images).stages == ()
    twin = copy.deepcopy(model)
    torch.nn.init.zeros_(model.backbone.layer3[1].bn2.weight)
    assert torch.equal(twin.extract_feat(images, {'stages'}).stages[0], feats.stages[0])


def test_a_head_without_the_stages_that_it_needs_is_refused():
    with pytest.raises(
        ValueError, match='stages: expected names of modules of ResNet, which _StageHead needs'
    ):
        stage_localizer()
    with pytest.raises(ValueError, match="stages: expected the name of a module of ResNet, .* got 'layer9'"):
        stage_localizer(stages=('layer9',))


class _OwnData(torch.nn.Module):
    gives = frozenset()
    data_config = dict(mean=(127.5, 127.5, 127.5), std=(255, 255, 255), input_size=(3, 64, 64))

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Conv2d(3, 3, 1)


@pytest.mark.parametrize('given', [{}, dict(mean=[127.5] * 3, std=[255.0] * 3)])
def test_mean_and_deviation_are_those_of_the_backbone(given):
    model = ImageLocalizer(_OwnData(), _StageHead(3, 3), stages=('body',), data_preprocessor=given)
    assert model.data_preprocessor.mean.flatten().tolist() == [127.5] * 3


def test_another_mean_than_the_backbone_s_is_refused():
    with pytest.raises(
        ValueError, match=r'data_preprocessor.mean: expected \(127.5, .* of _OwnData, got \(0, 0'
    ):
        ImageLocalizer(_OwnData(), _StageHead(3, 3), data_preprocessor=dict(mean=(0, 0, 0)))


def test_mixed_labels_give_the_loss_and_whole_ones_the_accuracy():
    model = stage_localizer(stages=('layer1',))
    scores = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0]])
    samples = [
        DataSample().set_gt_label(i).set_gt_score(score) for i, score in zip((0, 1), scores, strict=True)
    ]
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 0.5, 3.0]])
    losses = model.head._get_loss(logits, samples)
    torch.testing.assert_close(losses['loss'], torch.nn.functional.cross_entropy(logits, scores))
    assert losses['accuracy_top-1'][0].item() == 50


def test_channels_last():
    """The same values, of images and convolutions that lie otherwise in memory."""
    config = dict(
        type='ImageLocalizer',
        backbone=dict(type='mmpretrain.ResNet', depth=18),
        head=dict(type='CAMHead', num_classes=7, in_channels=512),
    )
    torch.manual_seed(0)
    model = MODELS.build(config).eval()
    other = MODELS.build(config | dict(channels_last=True)).eval()
    other.load_state_dict(model.state_dict())
    convolution = other.backbone.layer1[0].conv1
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    images, seen = torch.randn(2, 3, 64, 64), []
    convolution.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    torch.testing.assert_close(other(images), model(images), rtol=1e-4, atol=1e-5)
    assert seen[0].is_contiguous(memory_format=torch.channels_last) and not seen[0].is_contiguous()
