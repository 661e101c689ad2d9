"""Families of timm's models, each by a small one: what tests of TimmBackbone and docs/backbones.md sweep."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_TINY = dict(embed_dim=36, depth=2, num_heads=3)
_TOKENS = frozenset({'pre_norm_map', 'queries', 'keys', 'values'})
_CLASS_TOKEN = frozenset({'cls_token', 'pre_norm_cls_token'})
#: What a transformer with a class token gives; one without; one whose attention is of another kind.
FULL = _TOKENS | _CLASS_TOKEN | {'class_attention'}
WITHOUT_CLASS = _TOKENS
OTHER_ATTENTION = _CLASS_TOKEN | {'pre_norm_map'}


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        model_name: A model of it, of timm.
        options: What makes it small.
        size: Height and width of an image: not the size it was made for, if it takes others.
        channels: Channels D of its feature map.
        grid: Height and width of that.
        gives: What it gives beyond the feature map.
        prefix: Tokens before the first patch.
    """

    model_name: str
    size: tuple[int, int]
    channels: int
    grid: tuple[int, int]
    options: Mapping[str, Any] = field(default_factory=dict)
    gives: frozenset[str] = frozenset()
    prefix: int = 0


def _vit(name: str, prefix: int, gives: frozenset[str] = FULL, patch: int = 16, **options: Any) -> Family:
    options = dict(_TINY, img_size=4 * patch, **options)
    return Family(name, (3 * patch, 5 * patch), 36, (3, 5), options, gives, prefix)


#: By the names that docs/backbones.md uses.
FAMILIES: dict[str, Family] = {
    'ViT, DeiT, DINO': _vit('deit_tiny_patch16_224', 1),
    'DeiT distilled': _vit('deit_tiny_distilled_patch16_224', 2),
    'DINOv2': _vit('vit_small_patch14_dinov2', 1, patch=14),
    'DINOv2 with registers': _vit('vit_small_patch14_reg4_dinov2', 5, patch=14),
    'DINOv3': Family(
        'vit_small_patch16_dinov3_qkvb', (48, 80), 48, (3, 5), {**_TINY, 'embed_dim': 48}, FULL, 5
    ),
    'EVA-02': Family(
        'eva02_tiny_patch14_224', (42, 70), 48, (3, 5), {**_TINY, 'embed_dim': 48, 'img_size': 56}, FULL, 1
    ),
    'CLIP': _vit('vit_base_patch16_clip_quickgelu_224', 1),
    'SigLIP': _vit('vit_base_patch16_siglip_224', 0, WITHOUT_CLASS | {'pooled'}),
    'BEiT': Family(
        'beit_base_patch16_224', (64, 64), 36, (4, 4), {**_TINY, 'img_size': 64}, OTHER_ATTENTION, 1
    ),
    'ResNet': Family('test_resnet', (96, 128), 96, (3, 4)),
    'RepVGG, GCResNet': Family('test_byobnet', (96, 128), 256, (3, 4)),
    'RegNet': Family('regnety_002', (96, 128), 368, (3, 4)),
    'DenseNet': Family('densenet121', (96, 128), 8, (3, 4), dict(growth_rate=4, block_config=(1, 1, 1, 1))),
    'VGG': Family('vgg11', (96, 128), 512, (3, 4), dict(mlp_ratio=0.002)),
    'Inception': Family('inception_v3', (107, 139), 2048, (2, 3)),
    'EfficientNet': Family('test_efficientnet', (96, 128), 256, (3, 4)),
    'MobileNet': Family('mobilenetv3_small_050', (96, 128), 288, (3, 4)),
    'ConvNeXt': Family('test_convnext', (96, 128), 64, (3, 4)),
    'Swin': Family(
        'swin_tiny_patch4_window7_224',
        (56, 112),
        32,
        (7, 14),
        dict(embed_dim=16, depths=(1, 1), num_heads=(1, 2), img_size=(56, 112)),
    ),
    'MaxViT, CoAtNet': Family('test_maxvit', (160, 160), 128, (5, 5)),
    'MLP-Mixer': Family('mixer_s32_224', (64, 64), 512, (2, 2), dict(img_size=64)),
}
