_base_ = ['../_base_/models/deit-s.py', '../_base_/datasets/aircraft.py', './_base_/fine-grained.py']

model = dict(
    backbone=dict(type='SpatialTokenTransformer'),
    head=dict(type='SATHead', num_classes=100, area_loss=_base_.area_loss),
)
train_dataloader = dict(batch_size=64)
val_dataloader = dict(dataset=dict(pipeline=_base_.squash_crop_224))
test_dataloader = dict(dataset=dict(pipeline=_base_.squash_crop_224))
