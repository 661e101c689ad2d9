# SAT on the drawn images of the quickstart.
_base_ = '../_base_/settings/shapes.py'

model = dict(
    backbone=dict(type='SpatialTokenTransformer'),
    head=dict(type='SATHead', num_classes=10),
)
default_hooks = dict(checkpoint=dict(save_best='maxboxacc/MaxBoxAcc_agnostic'))
