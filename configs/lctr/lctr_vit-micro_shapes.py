# LCTR on the drawn images of the quickstart.
_base_ = '../_base_/recipes/shapes.py'

model = dict(
    backbone=dict(type='RelationalTransformer'),
    head=dict(type='LCTRHead', num_classes=10, in_channels=128, cal_acc=True),
)
