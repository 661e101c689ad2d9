# CATR in the common small setting: the first 40 classes of CUB, ViT-T, 12 epochs, batch 32. Validation sees
# the whole squashed image, as all methods do there; the test the central crop of CATR's own protocol.
_base_ = [
    '../_base_/models/vit-t.py',
    '../_base_/pipelines/short-side-crop_224_bicubic.py',
    '../_base_/settings/cub40.py',
]

model = dict(head=dict(type='CATRHead', num_classes=40, num_heads=3))
test_dataloader = dict(dataset=dict(pipeline=_base_.short_side_crop_224_bicubic))
protocol = dict(name='cdtr', alias='catr', thresholds=[0.1])
test_evaluator = dict(type='LocalizationMetric', protocols=[protocol])
default_hooks = dict(visualization=dict(protocol=protocol))
