# DINO ViT-S/16, frozen: only the head is trained. Takes any multiple of 16 as input size.
model = dict(
    type='ImageLocalizer',
    pretrained='timm://vit_small_patch16_224.dino',
    backbone=dict(
        type='TimmBackbone',
        model_name='vit_small_patch16_224.dino',
        attention_layers=1,
        position_interpolation='dinov2',
    ),
    frozen=['backbone.*'],
)
