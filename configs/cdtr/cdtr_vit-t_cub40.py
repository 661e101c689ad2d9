# CDTR in the common small setting: the first 40 classes of CUB, ViT-T, 12 epochs, batch 32. Validation sees
# the whole squashed image, as all methods do there; the test the central crop of CDTR's own protocol.
_base_ = ['../_base_/models/vit-t.py', '../_base_/recipes/cub40.py']

model = dict(
    head=dict(
        type='CDTRHead',
        num_classes=40,
        in_channels=192,
        num_heads=3,
        cal_acc=True,
        sba=dict(loss_weight=2.4),
    ),
)

crop_pipeline = [
    _base_.load_image,
    dict(type='ResizeEdge', scale=256, edge='short', interpolation='bicubic', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackLocalizationInputs'),
]
test_dataloader = dict(dataset=dict(pipeline=crop_pipeline))

val_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'maxboxacc_v2'])
test_evaluator = dict(type='LocalizationMetric', protocols=['cdtr'])
default_hooks = dict(checkpoint=dict(save_best='maxboxacc/MaxBoxAcc'), visualization=dict(protocol='cdtr'))
custom_hooks = [dict(type='ClassNamesHook')]
