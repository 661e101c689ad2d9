# The first 40 classes of CUB from scratch, on a CPU in minutes: convolutional networks in the common small
# setting. Images of 128x128, 10 epochs of SGD with a cosine, batch 32; everything but the model.
_base_ = ['./cub40.py']

random_crop_128 = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(146, 146), interpolation='bilinear', backend='pillow'),
    dict(type='RandomCrop', crop_size=128),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackLocalizationInputs'),
]
squash_128 = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(128, 128), interpolation='bilinear', backend='pillow'),
    dict(type='PackLocalizationInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=random_crop_128))
val_dataloader = dict(dataset=dict(pipeline=squash_128))
test_dataloader = dict(dataset=dict(pipeline=squash_128))

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4),
)
param_scheduler = [
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=10, T_max=10, convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=10, val_interval=10)
test_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'maxboxacc_v2'])
