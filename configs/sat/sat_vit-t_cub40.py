# SAT in the common small setting: the first 40 classes of CUB, ViT-T, 12 epochs, batch 32. Validation sees
# the whole squashed image, as all methods do there; the test its central crop, which is SAT's own protocol.
_base_ = ['../_base_/models/vit-t.py', '../_base_/recipes/cub40.py']

model = dict(
    backbone=dict(type='SpatialTokenTransformer'),
    head=dict(type='SATHead', num_classes=40, in_channels=192, cal_acc=True),
)

crop_pipeline = [
    _base_.load_image,
    dict(type='Resize', scale=(256, 256), interpolation='bilinear', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackLocalizationInputs'),
]
test_dataloader = dict(dataset=dict(pipeline=crop_pipeline))

val_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'maxboxacc_v2'])
test_evaluator = dict(type='LocalizationMetric', protocols=['sat'])
default_hooks = dict(
    checkpoint=dict(save_best='maxboxacc/MaxBoxAcc_agnostic'), visualization=dict(protocol='sat')
)
