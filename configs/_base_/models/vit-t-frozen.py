# ViT-T/16 at 224x224, weights of ImageNet-21k and then 1k, frozen: only the head is trained.
model = dict(
    type='ImageLocalizer',
    pretrained='timm://vit_tiny_patch16_224.augreg_in21k_ft_in1k',
    backbone=dict(
        type='TimmBackbone', model_name='vit_tiny_patch16_224.augreg_in21k_ft_in1k', attention_layers=1
    ),
    # These weights were trained on images scaled to [-1, 1].
    data_preprocessor=dict(
        type='LocalizationDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        to_rgb=True,
    ),
    frozen=['backbone.*'],
)
