# DINOv2 ViT-S/14 with four registers, frozen: only the head is trained. Takes any multiple of 14.
model = dict(
    type='ImageLocalizer',
    pretrained='timm://vit_small_patch14_reg4_dinov2.lvd142m',
    backbone=dict(
        type='TimmBackbone', model_name='vit_small_patch14_reg4_dinov2.lvd142m', attention_layers=1
    ),
    # Mean and standard deviation are those of the backbone.
    data_preprocessor=dict(type='LocalizationDataPreprocessor'),
    frozen=['backbone.*'],
)
