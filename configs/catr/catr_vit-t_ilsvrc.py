# The recipe of DeiT-S on the smaller ViT-T, which has 3 heads per layer. Its images are normalised otherwise,
# so what random erasing draws has mean -0.1 and deviation 0.45 after that, not 0 and 1.
_base_ = ['../_base_/models/vit-t.py', '../_base_/recipes/catr_ilsvrc.py']

model = dict(
    head=dict(
        type='CATRHead',
        num_classes=1000,
        in_channels=192,
        num_heads=3,
        cal_acc=True,
        csm=dict(base_channels=256),  # the larger module of the ILSVRC variant
        ocm=dict(num_layers=10, area_loss=dict(ratio=0.1)),
    ),
)
