# CUB-200-2011, squashed to squares; a config takes another geometry from ../pipelines.
_base_ = '../pipelines/squash_224.py'

dataset_type = 'CUB'
data_root = 'data/CUB_200_2011'

data_preprocessor = dict(
    type='LocalizationDataPreprocessor',
    # ImageNet statistics in RGB; images are loaded in BGR
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)

train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type=dataset_type, data_root=data_root, split='train', pipeline=_base_.random_crop_224),
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
        type=dataset_type,
        data_root=data_root,
        split='test',
        test_mode=True,
        pipeline=_base_.squash_224,
    ),
)
test_dataloader = val_dataloader
