# DINOv2 ViT-S/14 without registers, frozen: only the head is trained. Takes any multiple of 14 as input size.
model = dict(
    type='ImageLocalizer',
    pretrained='timm://vit_small_patch14_dinov2.lvd142m',
    backbone=dict(
        type='TimmBackbone',
        model_name='vit_small_patch14_dinov2.lvd142m',
        attention_layers=1,
        position_interpolation='dinov2',
    ),
    frozen=['backbone.*'],
)
