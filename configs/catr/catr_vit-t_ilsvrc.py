# The recipe of DeiT-S on the smaller ViT-T, which has 3 heads per layer. Its images are normalised otherwise,
# so what random erasing draws has mean -0.1 and deviation 0.45 after that, not 0 and 1.
_base_ = ['../_base_/models/vit-t.py', './_base_/ilsvrc.py']

model = dict(head=dict(type='CATRHead', num_classes=1000, num_heads=3, **_base_.modules))
