# The recipe of DeiT-S on the smaller ViT-T. Its images are normalised otherwise, so what random erasing draws
# has mean -0.1 and deviation 0.45 after that, not 0 and 1.
_base_ = ['../_base_/models/vit-t.py', './_base_/cub.py']

model = dict(backbone=dict(type='RelationalTransformer'), head=dict(type='LCTRHead', num_classes=200))
