# The common small setting for a head on a frozen backbone: images have the size of the backbone's, which
# model.backbone.img_size changes.
_base_ = ['./cub40.py', '../pipelines/squash_model.py']

train_dataloader = dict(dataset=dict(pipeline=_base_.random_crop_model))
val_dataloader = dict(dataset=dict(pipeline=_base_.squash_model))
test_dataloader = dict(dataset=dict(pipeline=_base_.squash_model))
