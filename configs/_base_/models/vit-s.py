# ViT-S/16 of the first timm releases: 8 layers of width 768 with 8 heads, MLPs of ratio 3, attention scaled
# by the whole width, layer norms with PyTorch's epsilon. Its weights have no bias of q, k and v: these start
# at 0.
model = dict(
    type='ImageLocalizer',
    pretrained='https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/'
    'vit_small_p16_224-15ec54c9.pth',
    backbone=dict(
        type='TokenVisionTransformer',
        arch=dict(embed_dims=768, num_layers=8, num_heads=8, feedforward_channels=2304),
        img_size=224,
        qk_scale=768**-0.5,
        norm_cfg=dict(type='LN', eps=1e-5),
        drop_path_rate=0.1,
    ),
    head=dict(in_channels=768),
)
