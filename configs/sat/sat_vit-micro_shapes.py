# SAT on the drawn images of the quickstart.
_base_ = '../_base_/recipes/shapes.py'

model = dict(
    backbone=dict(type='SpatialTokenTransformer'),
    head=dict(type='SATHead', num_classes=10, in_channels=128, cal_acc=True),
)
default_hooks = dict(checkpoint=dict(save_best='maxboxacc/MaxBoxAcc_agnostic'))
