_base_ = ['../_base_/models/deit-t.py', './_base_/cub.py']

model = dict(
    backbone=dict(type='SpatialTokenTransformer'),
    head=dict(type='SATHead', num_classes=200, area_loss=_base_.area_loss),
)
