# DeiT-B/16 at 224x224, ImageNet-1k weights (not distilled).
model = dict(
    type='ImageLocalizer',
    pretrained='timm://deit_base_patch16_224.fb_in1k',
    backbone=dict(type='TokenVisionTransformer', arch='deit-base', img_size=224, drop_path_rate=0.1),
    head=dict(in_channels=768),
)
