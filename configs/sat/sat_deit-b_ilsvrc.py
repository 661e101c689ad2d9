_base_ = ['../_base_/models/deit-b.py', './_base_/ilsvrc.py']

model = dict(
    backbone=dict(type='SpatialTokenTransformer'),
    head=dict(type='SATHead', num_classes=1000, area_loss=_base_.area_loss),
)
