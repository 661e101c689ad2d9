# FOUND on the first 40 classes of CUB, for images or cached features: whole images, mirrored at random, as
# large as the backbone takes them.
_base_ = ['./cub.py', '../../_base_/pipelines/squash_model.py']

data_root = 'data/CUB_200_2011_40'
mirrored_model = [
    *_base_.squash_model[:-1],
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    _base_.squash_model[-1],
]
train_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root, pipeline=mirrored_model))
val_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root, pipeline=_base_.squash_model))
test_dataloader = dict(num_workers=2, dataset=dict(data_root=data_root, pipeline=_base_.squash_model))
