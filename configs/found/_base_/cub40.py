# FOUND on the first 40 classes of CUB, for images or cached features: whole images, mirrored at random.
_base_ = './cub.py'

data_root = 'data/CUB_200_2011_40'
mirrored_224 = [
    *_base_.squash_224[:-1],
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    _base_.squash_224[-1],
]
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root, pipeline=mirrored_224))
val_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
test_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root))
