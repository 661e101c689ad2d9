# The reference publishes a result at 384x384 but no settings. Ours: images squashed to 440x440 (the same
# ratio as 256 to 224), crops of 384x384, everything else as at 224x224.
_base_ = ['../_base_/models/deit-b-384.py', '../_base_/recipes/ts-cam_cub.py']

model = dict(head=dict(type='TSCAMHead', num_classes=200, in_channels=768, cal_acc=True))

train_pipeline = [
    {{_base_.load_image}},
    dict(type='Resize', scale=(440, 440), interpolation='bilinear', backend='pillow'),
    dict(type='RandomCrop', crop_size=384),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackLocalizationInputs'),
]
test_pipeline = [
    {{_base_.load_image}},
    dict(type='Resize', scale=(384, 384), interpolation='bilinear', backend='pillow'),
    dict(type='PackLocalizationInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
