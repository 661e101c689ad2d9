# PSOL on ViT-T: the whole network learns classes and the boxes that another model has found, in the common
# small setting (12 epochs). The README says how the boxes are made.
_base_ = ['../_base_/models/vit-t.py', '../_base_/settings/cub40.py']

model = dict(
    # Six of twelve layers stay as they are, as in the second localizer that learns masks.
    frozen=[
        'backbone.pos_embed',
        'backbone.cls_token',
        'backbone.patch_embed.*',
        'backbone.layers.[0-5].*',
    ],
    head=dict(type='PSOLHead', num_classes=40),
)
# Classifier and regression are new, the backbone is not.
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={'head.classifier': dict(lr_mult=10.0), 'head.regressor': dict(lr_mult=10.0)}
    )
)
train_pipeline = [
    dict(type='LoadImageWithPillow'),
    dict(type='LoadPseudoBox', source='pseudo.json'),
    # Objects of many sizes and places, some of them cut: a box cannot be told from what is usual.
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.5, 1.0), backend='pillow'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackLocalizationInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_evaluator = _base_.val_evaluator
default_hooks = dict(checkpoint=dict(save_best='maxboxacc/MaxBoxAcc_agnostic'))
