# The embedded data set, written by tools/dataset_converters/make_embedded_shapes.py in the layout of CUB.
_base_ = ['./cub.py', '../pipelines/squash_96.py']

data_root = 'data/embedded_shapes'

train_dataloader = dict(
    num_workers=2,
    batch_size=32,
    dataset=dict(data_root=data_root, pipeline=_base_.random_crop_96),
)
val_dataloader = dict(
    num_workers=2,
    dataset=dict(data_root=data_root, pipeline=_base_.squash_96),
)
test_dataloader = val_dataloader
