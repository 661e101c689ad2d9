# CUB-200-2011 with the pipelines of TS-CAM and SCM: training images squashed to 256x256, then a random
# 224x224 crop and a flip; test images squashed to 224x224. The resize must be Pillow's (antialiased).
dataset_type = 'CUB'
data_root = 'data/CUB_200_2011'

data_preprocessor = dict(
    type='LocalizationDataPreprocessor',
    # ImageNet statistics in RGB; images are loaded in BGR
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)

# EXIF orientation is ignored, as the boxes of the data set do
load_image = dict(type='LoadImageWithPillow')

train_pipeline = [
    load_image,
    dict(type='Resize', scale=(256, 256), interpolation='bilinear', backend='pillow'),
    dict(type='RandomCrop', crop_size=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackLocalizationInputs'),
]
test_pipeline = [
    load_image,
    dict(type='Resize', scale=(224, 224), interpolation='bilinear', backend='pillow'),
    dict(type='PackLocalizationInputs'),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type=dataset_type, data_root=data_root, split='test', test_mode=True, pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader
