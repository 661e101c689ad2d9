# DINOv3 ViT-S/16, frozen: only the head is trained. Takes any multiple of 16 as input size.
model = dict(
    type='ImageLocalizer',
    pretrained='timm://vit_small_patch16_dinov3.lvd1689m',
    backbone=dict(type='TimmBackbone', model_name='vit_small_patch16_dinov3.lvd1689m', attention_layers=1),
    # Mean and standard deviation are those of the backbone.
    data_preprocessor=dict(type='LocalizationDataPreprocessor'),
    frozen=['backbone.*'],
)
