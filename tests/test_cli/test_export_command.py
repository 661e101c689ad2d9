"""Tests of wsol_mm.cli.export_command."""

import wsol_mm  # noqa: F401
from tests.methods import CONFORMER, Size, vgg_config, vit_config
from tests.timm_families import FAMILIES
from wsol_mm.cli.export_command import patch_sides
from wsol_mm.registry import MODELS

import pytest


@pytest.mark.parametrize(
    ('backbone', 'sides'),
    [
        (vit_config('TokenVisionTransformer', Size(patch=8)), (8, 8)),
        (CONFORMER, (16, 16)),
        (
            dict(type='TimmBackbone', model_name='vit_small_patch14_dinov2', **FAMILIES['DINOv2'].options),
            (14, 14),
        ),
        (vgg_config('VGG16', Size(patch=8)), (1, 1)),
    ],
    ids=['ViT', 'Conformer', 'DINOv2', 'VGG16'],
)
def test_the_patch_is_that_of_the_backbone(backbone, sides):
    assert tuple(patch_sides(MODELS.build(backbone))) == sides
