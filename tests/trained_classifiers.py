"""Small classifiers of the libraries, one per family, and the layers that are found in them."""

from typing import Any, NamedTuple


class Family(NamedTuple):
    """A classifier with random weights.

    Attributes:
        config: Of the classifier.
        map_layer: The layer that CAM takes by default.
        gradient_layer: The layer that methods with gradients take by default.
        grid: Height and width of the map.
        linear: Whether CAM works with it.
    """

    config: dict[str, Any]
    map_layer: str
    gradient_layer: str
    grid: tuple[int, int]
    linear: bool = True


def _timm(name: str, **settings: Any) -> dict[str, Any]:
    return dict(type='TimmClassifier', model_name=name, num_classes=7, **settings)


def _torchvision(name: str) -> dict[str, Any]:
    return dict(type='TorchvisionClassifier', model_name=name, num_classes=7)


def _mmpretrain(backbone: dict[str, Any], head: dict[str, Any], neck: bool) -> dict[str, Any]:
    model = dict(
        type='mmpretrain.ImageClassifier',
        backbone=backbone,
        neck=dict(type='mmpretrain.GlobalAveragePooling') if neck else None,
        head=dict(num_classes=7, **head),
        data_preprocessor=dict(mean=[120.0, 110.0, 100.0], std=[60.0, 61.0, 62.0], to_rgb=True),
    )
    return dict(type='MMPretrainClassifier', model=model, input_size=64)


_VIT = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48)
_SWIN = dict(depths=(1, 1, 1, 1), embed_dim=12, num_heads=(1, 1, 2, 2), window_size=2, img_size=128)
_LINEAR = dict(type='mmpretrain.LinearClsHead')

FAMILIES: dict[str, Family] = {
    'resnet': Family(_timm('test_resnet'), 'layer4', 'layer4', (5, 5)),
    'convnext': Family(_timm('test_convnext'), 'stages', 'stages', (5, 5)),
    'vgg': Family(_timm('vgg11'), 'features', 'features', (7, 7), linear=False),
    'vit': Family(_timm('test_vit', class_token=True), 'norm', 'blocks.5.norm1', (10, 10)),
    'dinov2-reg': Family(
        _timm('vit_small_patch14_reg4_dinov2', img_size=56, depth=2, embed_dim=24, num_heads=2),
        'norm',
        'blocks.1.norm1',
        (4, 4),
    ),
    'swin': Family(_timm('swin_tiny_patch4_window7_224', **_SWIN), 'norm', 'layers.3.blocks.0.norm1', (4, 4)),
    'efficientnet': Family(_timm('test_efficientnet'), 'bn2', 'bn2', (5, 5)),
    'mean-pooled vit': Family(
        _timm('vit_tiny_patch16_224', img_size=64, depth=2, global_pool='avg'),
        'blocks',
        'blocks.1.norm1',
        (4, 4),
    ),
    'torchvision resnet': Family(_torchvision('resnet18'), 'layer4', 'layer4', (7, 7)),
    'torchvision vgg': Family(_torchvision('vgg11'), 'features', 'features', (7, 7), linear=False),
    'mmpretrain resnet': Family(
        _mmpretrain(dict(type='mmpretrain.ResNet', depth=18), dict(in_channels=512, **_LINEAR), neck=True),
        'backbone.layer4',
        'backbone.layer4',
        (2, 2),
    ),
    'mmpretrain vit': Family(
        _mmpretrain(
            dict(type='mmpretrain.VisionTransformer', arch=_VIT, img_size=64),
            dict(type='mmpretrain.VisionTransformerClsHead', in_channels=24),
            neck=False,
        ),
        'backbone.ln1',
        'backbone.layers.1.ln1',
        (4, 4),
    ),
    'mmpretrain swin': Family(
        _mmpretrain(
            dict(
                type='mmpretrain.SwinTransformer',
                arch=dict(embed_dims=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]),
                img_size=64,
                window_size=2,
            ),
            dict(in_channels=96, **_LINEAR),
            neck=True,
        ),
        'backbone.norm3',
        'backbone.stages.3.blocks.0.norm1',
        (2, 2),
    ),
    'own vit': Family(
        dict(
            type='TokenClassifier',
            backbone=dict(type='TokenVisionTransformer', arch=_VIT, img_size=64),
            num_classes=7,
            mean=[127.5] * 3,
            std=[127.5] * 3,
        ),
        'backbone.ln1',
        'backbone.layers.1.ln1',
        (4, 4),
    ),
}
