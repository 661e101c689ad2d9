# LCTR in the common small setting: the first 40 classes of CUB, ViT-T, 12 epochs, batch 32. Validation sees
# the whole squashed image, as all methods do there; the test the central crop of LCTR's own protocol.
_base_ = ['../_base_/models/vit-t.py', '../_base_/recipes/cub40.py']

model = dict(
    backbone=dict(type='RelationalTransformer'),
    head=dict(type='LCTRHead', num_classes=40, in_channels=192, cal_acc=True),
)

crop_pipeline = [
    _base_.load_image,
    dict(type='ResizeEdge', scale=256, edge='short', interpolation='bilinear', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackLocalizationInputs'),
]
test_dataloader = dict(dataset=dict(pipeline=crop_pipeline))

val_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'maxboxacc_v2'])
test_evaluator = dict(type='LocalizationMetric', protocols=['lctr'])
default_hooks = dict(checkpoint=dict(save_best='maxboxacc/MaxBoxAcc'), visualization=dict(protocol='lctr'))
