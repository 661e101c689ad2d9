# The embedded data set, written by tools/dataset_converters/make_embedded_shapes.py in the layout of CUB;
# pipelines as in cub.py with all sizes times 3/7.
_base_ = './cub.py'

data_root = 'data/embedded_shapes'

load_image = dict(type='LoadImageWithPillow')
train_pipeline = [
    load_image,
    dict(type='Resize', scale=(110, 110), interpolation='bilinear', backend='pillow'),
    dict(type='RandomCrop', crop_size=96),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackLocalizationInputs'),
]
test_pipeline = [
    load_image,
    dict(type='Resize', scale=(96, 96), interpolation='bilinear', backend='pillow'),
    dict(type='PackLocalizationInputs'),
]

train_dataloader = dict(
    num_workers=2,
    batch_size=32,
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=2,
    dataset=dict(data_root=data_root, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
