# A very small ViT for small pictures and CPUs, 96x96 in patches of 8; trained from scratch.
model = dict(
    type='ImageLocalizer',
    backbone=dict(
        type='TokenVisionTransformer',
        arch=dict(embed_dims=128, num_layers=3, num_heads=4, feedforward_channels=512),
        img_size=96,
        patch_size=8,
    ),
    head=dict(in_channels=128),
)
