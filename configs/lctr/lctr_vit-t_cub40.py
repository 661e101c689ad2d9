# LCTR in the common small setting: the first 40 classes of CUB, ViT-T, 12 epochs, batch 32. Validation sees
# the whole squashed image, as all methods do there; the test the central crop of LCTR's own protocol.
_base_ = [
    '../_base_/models/vit-t.py',
    '../_base_/pipelines/short-side-crop_224_bilinear.py',
    '../_base_/settings/cub40.py',
]

model = dict(backbone=dict(type='RelationalTransformer'), head=dict(type='LCTRHead', num_classes=40))
test_dataloader = dict(dataset=dict(pipeline=_base_.short_side_crop_224_bilinear))
test_evaluator = dict(type='LocalizationMetric', protocols=['lctr'])
default_hooks = dict(visualization=dict(protocol='lctr'))
