# CDTR in the common small setting: the first 40 classes of CUB, ViT-T, 12 epochs, batch 32. Validation sees
# the whole squashed image, as all methods do there; the test the central crop of CDTR's own protocol.
_base_ = [
    '../_base_/models/vit-t.py',
    '../_base_/pipelines/short-side-crop_224_bicubic.py',
    '../_base_/settings/cub40.py',
]

model = dict(head=dict(type='CDTRHead', num_classes=40, num_heads=3, sba=dict(loss_weight=2.4)))
test_dataloader = dict(dataset=dict(pipeline=_base_.short_side_crop_224_bicubic))
test_evaluator = dict(type='LocalizationMetric', protocols=['cdtr'])
default_hooks = dict(visualization=dict(protocol='cdtr'))
custom_hooks = [dict(type='ClassNamesHook')]
