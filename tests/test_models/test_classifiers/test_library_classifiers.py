"""Trained classifiers by name or config: their weights, statistics, sizes and errors."""

from tests.test_models.conftest import VIT_ARCH, randomize
from tests.trained_classifiers import FAMILIES
from wsol_mm.registry import MODELS

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file


def build(kind, **settings):
    return MODELS.build(dict(type=kind, **settings))


def test_timm_weights_of_a_file(tmp_path):
    trained = randomize(timm.create_model('test_resnet', num_classes=7)).eval()
    save_file(trained.state_dict(), tmp_path / 'weights.safetensors')
    classifier = build(
        'TimmClassifier',
        model_name='test_resnet',
        checkpoint_path=tmp_path / 'weights.safetensors',
        num_classes=7,
    )
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(classifier.eval().logits(images), trained(images))
    with pytest.raises(ValueError, match='weights.safetensors: expected the weights of test_vit, got others'):
        build('TimmClassifier', model_name='test_vit', checkpoint_path=tmp_path / 'weights.safetensors')
    with pytest.raises(
        ValueError, match='weights.safetensors: expected the weights of test_resnet, got others'
    ):
        build(
            'TimmClassifier',
            model_name='test_resnet',
            checkpoint_path=tmp_path / 'weights.safetensors',
            num_classes=8,
        )


def test_timm_statistics_and_size_are_the_models_own():
    config = build('TimmClassifier', model_name='vit_tiny_patch16_224').data_config
    assert config['mean'] == config['std'] == (127.5,) * 3 and config['input_size'] == (224, 224)
    config = build('TimmClassifier', model_name='resnet18').data_config
    assert config['mean'] == pytest.approx((123.675, 116.28, 103.53)) and config['input_size'] == (224, 224)


def test_timm_errors(tmp_path):
    with pytest.raises(ValueError, match="model_name: expected a model of timm .*, got 'resnet51'"):
        build('TimmClassifier', model_name='resnet51')
    with pytest.raises(
        FileNotFoundError, match='checkpoint_path: expected a file, got nothing at .*none.pth'
    ):
        build('TimmClassifier', model_name='resnet18', checkpoint_path=tmp_path / 'none.pth')
    with pytest.raises(ValueError, match='expected either pretrained=True or checkpoint_path, got both'):
        build('TimmClassifier', model_name='resnet18', checkpoint_path='a.pth', pretrained=True)


def test_weights_that_cannot_be_had_say_what_to_do(monkeypatch):
    def no_network(*args, **kwargs):
        raise ConnectionError('no route to the hub\nat all')

    monkeypatch.setattr(timm, 'create_model', no_network)
    message = (
        r'of resnet18 in the cache or from the network, got none \(ConnectionError: no route to the hub\)'
    )
    with pytest.raises(OSError, match=message):
        build('TimmClassifier', model_name='resnet18', pretrained=True)


def test_a_random_classifier_on_pretrained_weights_is_refused(monkeypatch):
    model = timm.create_model('test_resnet', num_classes=7)
    monkeypatch.setattr(timm, 'create_model', lambda *args, **kwargs: model)
    with pytest.raises(
        ValueError, match='num_classes: expected 1000, .* got 7: the classifier would be random'
    ):
        build('TimmClassifier', model_name='test_resnet', pretrained=True, num_classes=7)


def test_torchvision_weights_of_a_file(tmp_path):
    trained = randomize(torchvision.models.resnet18(num_classes=7)).eval()
    torch.save(trained.state_dict(), tmp_path / 'resnet18.pth')
    settings = dict(model_name='resnet18', checkpoint_path=tmp_path / 'resnet18.pth')
    classifier = build('TorchvisionClassifier', num_classes=7, **settings)
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(classifier.eval().logits(images), trained(images))
    assert classifier.data_config['mean'] == pytest.approx((123.675, 116.28, 103.53))
    with pytest.raises(
        ValueError, match=r'expected the weights of ResNet, got 0 entries .* 2 .*fc.weight \(7, 512\)'
    ):
        build('TorchvisionClassifier', **settings)


def test_torchvision_inception_normalises_itself_as_its_weights_ask(tmp_path):
    torch.save(torchvision.models.inception_v3(init_weights=False).state_dict(), tmp_path / 'inception.pth')
    classifier = build(
        'TorchvisionClassifier',
        model_name='inception_v3',
        checkpoint_path=tmp_path / 'inception.pth',
        init_weights=False,
    )
    assert classifier.model.transform_input and classifier.data_config['input_size'] == (299, 299)


def test_torchvision_errors():
    with pytest.raises(ValueError, match="model_name: expected one of .*'resnet18'.*, got 'resnet19'"):
        build('TorchvisionClassifier', model_name='resnet19')
    with pytest.raises(
        ValueError, match=r"weights: expected 'DEFAULT' or one of .*IMAGENET1K_V1.*, got 'V3'"
    ):
        build('TorchvisionClassifier', model_name='resnet18', weights='V3')


def test_mmpretrain_config_and_checkpoint(tmp_path):
    model = FAMILIES['mmpretrain resnet'].config['model']
    (tmp_path / 'config.py').write_text(
        f'model = {model!r}\n'
        "test_dataloader = dict(dataset=dict(pipeline=[dict(type='CenterCrop', crop_size=96)]))\n"
    )
    trained = randomize(MODELS.build(dict(model))).eval()
    torch.save({'state_dict': trained.state_dict()}, tmp_path / 'weights.pth')
    settings = dict(config=tmp_path / 'config.py', checkpoint=tmp_path / 'weights.pth')
    classifier = build('MMPretrainClassifier', **settings)
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(classifier.logits(images), trained(images, mode='tensor'))
    assert classifier.data_config == dict(
        mean=(120, 110, 100), std=(60, 61, 62), input_size=(96, 96), to_rgb=True
    )
    torch.save({'state_dict': {'backbone.conv1.weight': torch.zeros(64, 3, 7, 7)}}, tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match='expected the weights of the model of the config'):
        build('MMPretrainClassifier', **settings)


def test_mmpretrain_model_by_its_name():
    classifier = build('MMPretrainClassifier', config='resnet18_8xb32_in1k')
    assert classifier.data_config['mean'] == pytest.approx((123.675, 116.28, 103.53))
    assert classifier.kind == 'ImageClassifier of ResNet'


def test_a_localizers_classifier_is_one_too():
    model = dict(
        type='ImageLocalizer',
        backbone=dict(type='TokenVisionTransformer', arch=VIT_ARCH, img_size=32, patch_size=8),
        head=dict(type='TSCAMHead', num_classes=7, in_channels=24),
        data_preprocessor=dict(mean=[1.0, 2, 3], std=[4.0, 5, 6]),
    )
    classifier = randomize(build('MMPretrainClassifier', model=model, input_size=32))
    localizer = MODELS.build(
        dict(type='ClassifierLocalizer', classifier=classifier, cam=dict(type='GradCAM'))
    ).eval()
    images = torch.randn(1, 3, 32, 32)
    (sample,) = localizer.predict(images)
    assert classifier.layer == 'backbone.layers.2.ln1' and sample.loc_maps.shape == (5, 4, 4)
    torch.testing.assert_close(
        sample.pred_score, classifier.model(images, mode='tensor')[0].softmax(dim=0).detach()
    )


def test_mmpretrain_errors():
    with pytest.raises(ValueError, match='expected either config or model, got config=None and model=None'):
        build('MMPretrainClassifier')
    model = {**FAMILIES['mmpretrain resnet'].config['model'], 'data_preprocessor': None}
    with pytest.raises(ValueError, match='data_preprocessor: expected mean and std .*, got none'):
        build('MMPretrainClassifier', model=model)


def test_token_classifier_reads_a_timm_file(tmp_path):
    trained = randomize(timm.create_model('vit_tiny_patch16_224', img_size=32, depth=2, num_classes=7)).eval()
    torch.save(trained.state_dict(), tmp_path / 'vit.pth')
    arch = dict(embed_dims=192, num_layers=2, num_heads=3, feedforward_channels=768)
    settings = dict(
        backbone=dict(type='TokenVisionTransformer', arch=arch, img_size=32),
        mean=[127.5] * 3,
        std=[127.5] * 3,
        checkpoint_path=tmp_path / 'vit.pth',
    )
    classifier = build('TokenClassifier', num_classes=7, **settings)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(classifier.logits(images), trained(images), rtol=1e-4, atol=1e-4)
    with pytest.raises(
        ValueError, match='vit.pth: expected all weights of a classifier of 8 classes, got none for head'
    ):
        build('TokenClassifier', num_classes=8, **settings)


def test_token_classifier_does_not_guess_statistics():
    backbone = dict(type='TokenVisionTransformer', arch=VIT_ARCH, img_size=32)
    with pytest.raises(ValueError, match='classifier: expected mean and std .* got mean=None and std=None'):
        build('TokenClassifier', backbone=backbone, num_classes=7)
    with pytest.raises(
        ValueError, match='classifier.backbone: expected one that gives cls_token, got ResNet'
    ):
        build(
            'TokenClassifier',
            backbone=dict(type='ResNet', depth=18),
            num_classes=7,
            mean=[0] * 3,
            std=[1] * 3,
        )
