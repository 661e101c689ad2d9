"""Any trained classifier with any map: layers, what is returned, and that the network stays as it was."""

from copy import deepcopy

from tests.test_models.conftest import randomize
from tests.trained_classifiers import FAMILIES
from wsol_mm.models.classifiers import trained_classifier
from wsol_mm.registry import MODELS

import pytest
import torch
from mmpretrain.structures import DataSample

RESNET = FAMILIES['resnet'].config
OWN_VIT = FAMILIES['own vit'].config


def build(classifier, cam='CAM', **settings):
    """Build a localizer whose every weight has a value."""
    method = {'type': cam} if isinstance(cam, str) else cam
    built = MODELS.build(classifier)
    randomize(built.model, std=0.05)
    return MODELS.build(dict(type='ClassifierLocalizer', classifier=built, cam=method, **settings)).eval()


def images_of(model, batch=2):
    height, width = model.backbone.data_config['input_size']
    return torch.randn(batch, 3, height, width)


@pytest.mark.parametrize('name', FAMILIES)
def test_default_layer_and_grid_of_every_family(name, monkeypatch):
    family, log = FAMILIES[name], []
    monkeypatch.setattr(trained_classifier, 'print_log', lambda text, **_: log.append(text))
    if family.linear:
        model = build(family.config, 'CAM')
        assert model.backbone.layer == family.map_layer
        (sample, _) = model.predict(images_of(model))
        assert sample.loc_maps.shape == (5, *family.grid) and sample.loc_maps.dtype == torch.float32
    else:
        with pytest.raises(
            ValueError, match='linear in the mean over the map.*GradCAM and LayerCAM work with any'
        ):
            build(family.config, 'CAM')
    model = build(family.config, 'GradCAM')
    assert model.backbone.layer == family.gradient_layer
    assert f'found by default, {family.gradient_layer!r}' in log[-1]
    (sample, _) = model.predict(images_of(model))
    assert sample.loc_maps.shape == (5, *family.grid) and sample.loc_maps.std() > 0


@pytest.mark.parametrize('name', [name for name, family in FAMILIES.items() if family.linear])
def test_mean_of_cam_is_the_logit_where_the_mean_is_classified(name):
    model = build(FAMILIES[name].config, 'CAM')
    images = images_of(model)
    with torch.no_grad():
        feats = model.extract_feat(images, model.head.predict_needs)
    labels = torch.arange(7).expand(2, 7)
    means = model.head.localization_maps(feats, labels).mean(dim=(2, 3))
    form = model.backbone._linear_form
    bias = model.backbone.model.get_submodule(form.classifier).bias
    if model.backbone._layout.prefix and form.norm is None:
        pytest.skip('the class token is classified, not the mean')
    torch.testing.assert_close(means + bias, feats.extras['logits'], rtol=1e-4, atol=1e-4)


def test_cam_is_grad_cam_up_to_scale_behind_global_pooling():
    cam = build(RESNET, 'CAM')
    grad_cam = MODELS.build(
        dict(type='ClassifierLocalizer', classifier=deepcopy(cam.backbone), cam=dict(type='GradCAM'))
    )
    images = images_of(cam)
    ours, theirs = cam.predict(images)[0].loc_maps, grad_cam.predict(images)[0].loc_maps
    torch.testing.assert_close(ours.relu() / ours[0].numel(), theirs)


def test_samples_are_as_those_of_every_localizer():
    model = build(RESNET, dict(type='GradCAM', map_topk=2))
    samples = [DataSample().set_gt_label(3), DataSample()]
    first, second = model.predict(images_of(model), samples)
    assert first.loc_labels[0] == 3 and first.loc_maps.shape == (3, 5, 5)
    assert second.loc_labels.tolist() == second.pred_topk[:2].tolist()
    assert first.pred_score.shape == (7,) and first.pred_score.sum() == pytest.approx(1)
    assert first.pred_topk.shape == (5,) and first.pred_label == first.pred_score.argmax()
    assert all(
        not sample.loc_maps.requires_grad and not sample.pred_score.requires_grad for sample in samples
    )


def test_a_batch_is_as_its_images_one_by_one():
    model = build(FAMILIES['vit'].config, 'LayerCAM')
    images = images_of(model, 3)
    together = torch.stack([sample.loc_maps for sample in model.predict(images)])
    alone = torch.cat([model.predict(image[None])[0].loc_maps[None] for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize('cam', ['GradCAM', 'LayerCAM', 'CAM'])
def test_ten_crops_rank_by_all_and_map_the_centre(cam):
    model = build(RESNET, cam)
    crops = torch.stack([images_of(model, 10)])
    (sample,) = model.predict(crops)
    with torch.no_grad():
        scores = model.backbone.logits(crops[0]).softmax(dim=1).mean(dim=0)
    torch.testing.assert_close(sample.pred_score, scores)


def state_of(model):
    """Return all that maps could leave changed in a network."""
    return (
        [module.training for module in model.modules()],
        [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        [len(module._backward_hooks) for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [None if parameter.grad is None else parameter.grad.clone() for parameter in model.parameters()],
        [(name, id(module)) for name, module in model.named_modules()],
        [value.clone() for value in model.state_dict().values()],
        torch.is_grad_enabled(),
    )


def same(before, after):
    def equal(first, second):
        if isinstance(first, torch.Tensor):
            return torch.equal(first, second)
        return first == second

    return all(
        len(old) == len(new) and all(map(equal, old, new)) if isinstance(old, list) else old == new
        for old, new in zip(before, after, strict=True)
    )


@pytest.mark.parametrize('failing', [False, True])
@pytest.mark.parametrize(
    'cam', ['CAM', 'GradCAM', 'LayerCAM', 'EigenCAM', 'HiResCAM', 'ScoreCAM', 'AblationCAM']
)
def test_network_is_left_as_it_was(cam, failing, monkeypatch):
    if cam not in ('CAM', 'GradCAM', 'LayerCAM'):
        pytest.importorskip('pytorch_grad_cam', reason='needs grad-cam')
    model = build(RESNET, cam)
    network = model.backbone.model
    network.train()
    network.layer1.eval()
    network.fc.weight.requires_grad_(False)
    network.bn1.weight.grad = torch.ones_like(network.bn1.weight)
    before = state_of(network)
    calls = []
    if failing:
        forward = network.fc.forward

        def fail(inputs):
            calls.append(1)
            # Methods that run the network again fail in a run of their own.
            if len(calls) == (3 if model.head.reruns else 1):
                raise RuntimeError('out of memory')
            return forward(inputs)

        monkeypatch.setattr(network.fc, 'forward', fail)
        with pytest.raises(RuntimeError, match='out of memory'), torch.no_grad():
            model.predict(images_of(model))
    else:
        with torch.no_grad():
            model.predict(images_of(model))
    assert same(before, state_of(network))
    assert model.head._attached == []


@pytest.mark.parametrize('cam', ['CAM', 'GradCAM', 'LayerCAM'])
@pytest.mark.parametrize('name', ['resnet', 'vit', 'convnext'])
def test_maps_under_autocast(cam, name):
    classifier = MODELS.build(FAMILIES[name].config)
    model = MODELS.build(dict(type='ClassifierLocalizer', classifier=classifier, cam=dict(type=cam))).eval()
    images, labels = images_of(model), torch.arange(model.head.num_classes)[None].expand(2, -1)

    def maps():
        return model.head.localization_maps(model.extract_feat(images, model.head.predict_needs), labels)

    plain = maps()
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        mixed = maps()
        assert model.predict(images)[0].loc_maps.dtype == torch.float32
    assert mixed.dtype == torch.float32
    # The network itself rounds to three digits.
    similarity = torch.cosine_similarity(mixed.flatten(1), plain.flatten(1))
    assert (similarity > 0.98).all() and (similarity < 1).all()


def test_a_given_layer_is_taken_also_before_work_in_place():
    model = build(RESNET, dict(type='GradCAM', target_layer='layer3.0.bn1'))
    assert model.backbone.layer == 'layer3.0.bn1'
    images = images_of(model)
    with torch.no_grad():
        feats = model.extract_feat(images, {'map_gradient'})
        logits = model.backbone.logits(images)
    assert feats.feature_map.min() < 0  # not yet rectified
    torch.testing.assert_close(feats.extras['logits'].detach(), logits)


def test_images_of_another_shape():
    model = build(FAMILIES['resnet'].config, 'GradCAM')
    assert model.predict(torch.randn(1, 3, 96, 160))[0].loc_maps.shape == (5, 3, 5)
    model = build(dict(OWN_VIT), 'GradCAM')
    assert model.predict(torch.randn(1, 3, 32, 64))[0].loc_maps.shape == (5, 2, 4)


def test_statistics_are_those_of_the_classifier():
    model = build(FAMILIES['mmpretrain vit'].config, 'CAM')
    assert model.data_preprocessor.mean.flatten().tolist() == [120, 110, 100]
    assert model.data_preprocessor.std.flatten().tolist() == [60, 61, 62]
    model = build(dict(type='TimmClassifier', model_name='vit_tiny_patch16_224', img_size=64, depth=1), 'CAM')
    assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx([127.5] * 3)
    with pytest.raises(ValueError, match=r'data_preprocessor.mean: expected .*127.5.*, got \(1, 2, 3\)'):
        build(OWN_VIT, 'CAM', data_preprocessor=dict(mean=[1, 2, 3]))


def test_a_classifier_of_bgr_images_gets_them():
    config = deepcopy(FAMILIES['mmpretrain resnet'].config)
    config['model']['data_preprocessor']['to_rgb'] = False
    model = build(config)
    assert not model.data_preprocessor.to_rgb


def test_it_is_not_trained():
    model = build(RESNET)
    with pytest.raises(ValueError, match='model.type: expected a model to train, got ClassifierLocalizer'):
        model.loss(images_of(model), [DataSample().set_gt_label(0)] * 2)
    before = deepcopy(model.state_dict())
    model.init_weights()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ('cam', 'message'),
    [
        (
            dict(type='GradCAM', target_layer='layer5'),
            r"cam.target_layer: expected the name .*'layer\d'.*'layer5'",
        ),
        (
            dict(type='GradCAM', target_layer='fc'),
            r"expected a layer that returns a map .*'fc', which returns",
        ),
        (dict(type='CAM', target_layer='layer3'), 'linear in the mean over the map'),
        (dict(type='ClassAttention'), "expected a backbone that gives .'class_attention'"),
    ],
)
def test_what_a_method_cannot_have_is_said_when_it_is_built(cam, message):
    with pytest.raises(ValueError, match=message):
        build(RESNET, cam)


def test_a_layer_without_gradient_is_refused():
    with pytest.raises(ValueError, match=r"depend on, got 'norm', with respect to whose map .* zero"):
        build(FAMILIES['vit'].config, dict(type='GradCAM', target_layer='norm'))


def test_types_are_checked():
    with pytest.raises(TypeError, match='expected a TrainedClassifier for classifier, got Linear'):
        MODELS.build(dict(type='ClassifierLocalizer', classifier=torch.nn.Linear(2, 2), cam=dict(type='CAM')))
    with pytest.raises(TypeError, match="expected a CAMMethod for cam.type, got 'TSCAMHead'"):
        build(RESNET, dict(type='TSCAMHead'))
    with pytest.raises(ValueError, match='pretrained: expected None'):
        build(RESNET, pretrained='weights.pth')


def test_a_copy_of_the_model_works_alone():
    model = build(RESNET, 'GradCAM')
    copy = deepcopy(model)
    images = images_of(model)
    expected = model.predict(images)[0].loc_maps
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(copy.predict(images)[0].loc_maps, expected)
