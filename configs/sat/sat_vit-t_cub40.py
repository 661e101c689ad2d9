# SAT in the common small setting: the first 40 classes of CUB, ViT-T, 12 epochs, batch 32. Validation sees
# the whole squashed image, as all methods do there; the test its central crop, which is SAT's own protocol.
_base_ = [
    '../_base_/models/vit-t.py',
    '../_base_/pipelines/squash-crop_224.py',
    '../_base_/settings/cub40.py',
]

model = dict(backbone=dict(type='SpatialTokenTransformer'), head=dict(type='SATHead', num_classes=40))
test_dataloader = dict(dataset=dict(pipeline=_base_.squash_crop_224))
test_evaluator = dict(type='LocalizationMetric', protocols=['sat'])
default_hooks = dict(
    checkpoint=dict(save_best='maxboxacc/MaxBoxAcc_agnostic'), visualization=dict(protocol='sat')
)
